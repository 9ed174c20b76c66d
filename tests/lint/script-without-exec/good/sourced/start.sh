#!/bin/bash
. /usr/local/lib/app.sh
log "starting"
main "$@"
