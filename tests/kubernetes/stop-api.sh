#!/usr/bin/env bash
# stop-api.sh: the API server is gone at once, with all connections to it. To start it again: start-api.sh.
source "$(dirname "$0")/common.sh"
use_own_slot
kill_all api
