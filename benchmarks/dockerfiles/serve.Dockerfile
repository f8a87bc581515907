# The same packages started as the toolkit is by itself, as the official images do, and with nothing
# compiled beforehand unless that is asked for.
ARG IMAGE
FROM ${IMAGE}
ARG BYTECODE=
RUN test -n "${BYTECODE}" \
 || find /opt/venv /usr/lib/python3 /usr/lib/python3.* \
        -name __pycache__ -prune -exec rm --recursive --force {} +
ENTRYPOINT []
CMD ["serve"]
# It must not pass for the image that it is made from.
LABEL dlc.key= dlc.inputs=
