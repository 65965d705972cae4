# make check   types, lint, unit tests: within two minutes
# make test    every tier of tests: needs Linux, root and Go 1.26; the first time it builds Kubernetes, about 15 minutes
# make demo    the whole flow on this machine, without a cluster
.PHONY: check test demo

# npm ci brings the right Node.js as well; it stands before any other.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)

check: node_modules/.package-lock.json
	npm run typecheck
	npm run lint
	npm run unit

test: node_modules/.package-lock.json
	@node testing/run-tiers.ts

demo: node_modules/.package-lock.json
	@npm run --silent demo

node_modules/.package-lock.json: package.json package-lock.json
	npm ci --ignore-scripts
