#!/bin/sh
# Replaced by the roles.
