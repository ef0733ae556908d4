# The service that keeps reports. From the top of the checkout:
#   docker build -f ci/containers/service.Dockerfile -t tritonmoe-service .
#   docker run --rm -v tritonmoe-data:/data tritonmoe-service token add ci --scope write
#   docker run -d -p 127.0.0.1:8642:8642 -v tritonmoe-data:/data tritonmoe-service
# For a team, give it TRITONMOE_DATABASE=postgresql://..., and a proxy in front that speaks TLS: reports/service/README.md.
FROM python:3.12-bookworm@sha256:dbbe4ceb97851e2e5fa83798b239811f871cb743b259ba3563737349f6bcfaa0

ENV PATH=/opt/tritonmoe/bin:$PATH TRITONMOE_REPORTS_VENV=/opt/tritonmoe TRITONMOE_DATA=/data
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
RUN useradd --system --uid 8642 tritonmoe && install -d -o tritonmoe -m 700 /data

WORKDIR /tritonmoe
COPY . .
RUN bash ci/reports-only service

USER 8642
VOLUME /data
EXPOSE 8642
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8642/healthz', timeout=4)"]
ENTRYPOINT ["tritonmoe"]
CMD ["serve", "--host", "0.0.0.0", "--workers", "2"]
