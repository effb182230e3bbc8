# Short names for what scripts/ does; each script says at its top what it takes.

FIGURES = benchmarks/figures
ATTACKS = tests/engine/test_secrets.py tests/engine/test_isolation.py tests/engine/test_hostile.py \
	tests/unit/host/test_hostile_repository.py tests/unit/host/test_hostile_names.py

.PHONY: help test quick long benchmark kills faults attacks fuzz audit page reliability

help:
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile

test: ## all checks and all tests; what CI runs
	scripts/test

quick: ## the same without the tests that need an engine
	scripts/test --quick

long: ## the same with the tests that take their time
	scripts/test --long

benchmark: ## docs/performance.md, measured on this machine
	scripts/benchmark

reliability: kills faults attacks fuzz audit page ## docs/reliability.md, tried on this machine

kills: ## kill commands at 220 of their steps
	scripts/faults kills --json $(FIGURES)/kills.json

faults: ## inject all faults
	scripts/faults all --json $(FIGURES)/faults.json

attacks: ## try the attacks
	scripts/test $(ATTACKS) --junitxml $(FIGURES)/attacks.xml
	scripts/reliability --junit $(FIGURES)/attacks.xml attacks
	rm $(FIGURES)/attacks.xml

fuzz: ## feed every parser with broken input
	scripts/fuzz --figures $(FIGURES)/fuzz.json

audit: ## look for known faults in what we depend on
	scripts/audit $(FIGURES)/audit.json

page: ## docs/reliability.md from the figures that are there
	scripts/reliability
