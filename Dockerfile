# Two stages: the first installs into /opt/sidecar, the second only has the result.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY .requirements/run.txt .requirements/run.txt
COPY sidecar sidecar
RUN python -m venv /opt/sidecar \
 && /opt/sidecar/bin/pip install --no-cache-dir -r .requirements/run.txt \
 && /opt/sidecar/bin/pip install --no-cache-dir --no-deps .

FROM python:3.13-slim
COPY --from=build /opt/sidecar /opt/sidecar
ENV PATH=/opt/sidecar/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 1337:1337
EXPOSE 15006 15020
ENTRYPOINT ["sidecar"]
CMD ["run", "-c", "/etc/sidecar/sidecar.yaml"]
