# The suite for an NVIDIA GPU. Built and run by ci/platform; by hand, from the top of the checkout:
#   docker build -f ci/containers/cuda.Dockerfile -t tritonmoe-cuda .
#   docker run --rm --gpus all -v "$PWD/out:/out" tritonmoe-cuda
# BASE and TORCH_INDEX come from ci/platforms.toml; the values here are those of that list.
ARG BASE=nvidia/cuda:13.0.2-base-ubuntu24.04@sha256:2ab6381d970b211fb93853796dc6707eb8a72575a375c422b17cf4d8b2641701
FROM ${BASE}
ARG TORCH_INDEX=https://download.pytorch.org/whl/cu130

# Triton compiles a launcher for each kernel: that takes a C compiler and Python's headers. torch brings CUDA.
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
ENTRYPOINT ["bash", "ci/platform", "cuda", "-o", "/out"]
