# Two stages: the first installs into /opt/sidecar, the second has the result, and nft.
# Build: docker build -t sidecar-316:0.1.0 .
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY .requirements .requirements
COPY sidecar sidecar
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev
RUN COMPILE=1 .requirements/install-image /opt/sidecar

FROM python:3.13-slim
# nftables for `sidecar iptables`, in an init container: it locks no file, as iptables may.
# openssl for `sidecar certify`.
RUN apt-get update && apt-get install -y --no-install-recommends nftables openssl \
  && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/sidecar /opt/sidecar
# The root file system may be read-only: nothing is written, not even compiled modules
# (installing has compiled them).
ENV PATH=/opt/sidecar/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 1337:1337
EXPOSE 15006 15020
ENTRYPOINT ["sidecar"]
CMD ["run", "-c", "/etc/sidecar/sidecar.yaml"]
