# SPDX-License-Identifier: GPL-2.0
# What one does with dmirror. Each command is a script in selftests/vm/.

KDIR ?= /lib/modules/$(shell uname -r)/build
VM := selftests/vm

# Taken from the command line or the environment.
export KERNEL DEBUG SUITE JOBS TIMEOUT ROUNDS BOUNCE

all:
	@test -e $(KDIR)/Makefile || { echo "There is no kernel to build against in $(KDIR):" \
		"install the running kernel's headers (linux-headers-$$(uname -r) in Debian)," \
		"or say where one is with make KDIR=<kernel build folder>." >&2; exit 1; }
	$(MAKE) -C $(KDIR) M=$(CURDIR)/drivers/dmirror modules

run check matrix coverage shell lint patches patches-mm backports:
	@$(VM)/$@

# make itself exits with 2 whenever a recipe fails; selftests/vm/exec returns the status.
exec:
	@$(VM)/exec $(PROG) $(ARGS)

bench mutants:
	@$(VM)/$@ $(ARGS)

fuzz:
	@$(VM)/fuzz $(RUNS)

help:
	@cat $(VM)/help.txt

clean:
	rm -rf out
	@test ! -e $(KDIR)/Makefile || $(MAKE) -C $(KDIR) M=$(CURDIR)/drivers/dmirror clean

.PHONY: all run check matrix coverage bench mutants fuzz exec shell lint patches patches-mm backports help clean
