#!/bin/sh
# Folders in the volumes, which are empty at the first start, and the models of the image.
set -eu
umask 077
mkdir -p "$HEYGEM_HOME" "$HEYGEM_RECORDS" "$(dirname "$HEYGEM_QUEUE")"
if [ ! -e "$HEYGEM_HOME/models" ]; then
    ln -sfn /opt/heygem/cache/models "$HEYGEM_HOME/models"
fi
exec "$@"
