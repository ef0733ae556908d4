# Sourced by the scripts beside it: a virtual environment with this checkout and its extras installed.
# TRITONMOE_VENV is where (default .venv); TRITONMOE_TORCH=keep uses the torch and triton of $PYTHON as they are
# (a GPU image has builds of its own), instead of the pinned CPU pair.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}
venv=$(realpath -m "${TRITONMOE_VENV:-.venv}")

has_gpu_torch() {
    "$python" -c 'import sys, torch, triton; sys.exit(not torch.cuda.is_available())' 2>/dev/null
}

mode=${TRITONMOE_TORCH:-$(has_gpu_torch && echo keep || echo pinned)}
case $mode in
    keep) options=(--system-site-packages) constraints=() extras=$1 ;;
    pinned) options=() constraints=(-c ci/constraints.txt) extras=cpu,$1 ;;
    *) echo "TRITONMOE_TORCH is '$mode'; expected keep or pinned" >&2; exit 2 ;;
esac

wanted=$(sha256sum pyproject.toml ci/constraints.txt | sha256sum | cut -c1-16)
stamp=$venv/installed-$wanted-$mode-$extras
if [ ! -e "$stamp" ]; then
    echo "installing into $venv ($mode torch)"
    "$python" -m venv "${options[@]}" "$venv"
    if [ "$mode" = pinned ]; then
        # On its own first, held by the constraint: a range would fetch a build for GPUs, gigabytes of it.
        "$venv/bin/pip" install --quiet torch "${constraints[@]}" \
            ${TRITONMOE_TORCH_INDEX:+--index-url "$TRITONMOE_TORCH_INDEX"}
    fi
    "$venv/bin/pip" install --quiet --editable ".[$extras]" "${constraints[@]}"
    touch "$stamp"
fi
export PATH="$venv/bin:$PATH"
