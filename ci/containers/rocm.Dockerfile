# The suite for an AMD GPU. Built and run by ci/platform; by hand, from the top of the checkout:
#   docker build -f ci/containers/rocm.Dockerfile -t tritonmoe-rocm .
#   docker run --rm --device=/dev/kfd --device=/dev/dri --group-add=video -v "$PWD/out:/out" tritonmoe-rocm
# BASE and TORCH_INDEX come from ci/platforms.toml; the values here are those of that list.
ARG BASE=rocm/dev-ubuntu-24.04:7.2.4@sha256:bdc8e61026cbb844ede93d44d2c50055f51ebb2041906b60182bf3bee3139054
FROM ${BASE}
ARG TORCH_INDEX=https://download.pytorch.org/whl/rocm7.2

# Triton compiles a launcher for each kernel: that takes a C compiler and Python's headers. torch brings ROCm.
# Their versions are the archive's, which keeps no older ones; none of them is in the results.
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        python3 python3-dev python3-venv gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/tritonmoe/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# torch comes first and alone: it is gigabytes, and stays cached while the tree changes. Both versions are pinned.
WORKDIR /tritonmoe
COPY ci/constraints.txt ci/constraints.txt
RUN python3 -m venv /opt/tritonmoe \
    && pip install torch --index-url "${TORCH_INDEX}" -c ci/constraints.txt
COPY . .
RUN pip install --editable '.[conformance,reports]' -c ci/constraints.txt

# The environment is complete: ci/platform makes no other one in here.
ENV TRITONMOE_READY=1
VOLUME /out
ENTRYPOINT ["bash", "ci/platform", "rocm", "-o", "/out"]
