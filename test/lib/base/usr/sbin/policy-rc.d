#!/bin/sh
# Packages must not start services while they are being installed.
exit 101
