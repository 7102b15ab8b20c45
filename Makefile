# make            a release build: static (musl) where that target can be had, otherwise for the default target
# make install    install what was built: DESTDIR=, PREFIX=/usr
# make uninstall
# make check      ./test

PREFIX  ?= /usr
DESTDIR ?=
CARGO   ?= cargo
INSTALL ?= install

# TARGET= (empty) builds for the default target.
MUSL   := x86_64-unknown-linux-musl
TARGET ?= $(shell [ "$$(uname -m)" = x86_64 ] && \
	{ rustup target list --installed 2>/dev/null | grep -qx $(MUSL) || rustup target add $(MUSL) >/dev/null 2>&1; } && \
	echo $(MUSL))

BUILD := $(or $(CARGO_TARGET_DIR),target)
# where build notes the program that it made: whoever installs may have neither the toolchain nor these variables
BUILT := target/built

BIN  := $(DESTDIR)$(PREFIX)/bin
MAN  := $(DESTDIR)$(PREFIX)/share/man
DOC  := $(DESTDIR)$(PREFIX)/share/doc/netsysrq-mail

all: build

build:
	$(CARGO) build --locked --release $(if $(TARGET),--target $(TARGET))
	@mkdir -p target
	@echo "$(BUILD)/$(if $(TARGET),$(TARGET)/)release/netsysrq-mail" >$(BUILT)

install: | $(filter all build,$(MAKECMDGOALS))
	@[ -x "$$(cat $(BUILT) 2>/dev/null)" ] || { echo "nothing is built: run make first, as the user who has the toolchain" >&2; exit 1; }
	$(INSTALL) -d $(BIN) $(MAN)/man1 $(MAN)/man5 $(MAN)/man8 $(DOC)/docs
	$(INSTALL) -m 0755 "$$(cat $(BUILT))" $(BIN)/netsysrq-mail.new
	mv $(BIN)/netsysrq-mail.new $(BIN)/netsysrq-mail    # atomically: a mail system may call it at any time
	$(INSTALL) -m 0644 docs/netsysrq-mail.1 $(MAN)/man1/netsysrq-mail.1
	$(INSTALL) -m 0644 docs/netsysrq-mail.toml.5 $(MAN)/man5/netsysrq-mail.toml.5
	$(INSTALL) -m 0644 docs/netsysrq-mail.8 $(MAN)/man8/netsysrq-mail.8
	$(INSTALL) -m 0644 README.md CHANGELOG.md SECURITY.md LICENSE-MIT LICENSE-APACHE $(DOC)
	$(INSTALL) -m 0644 docs/*.md docs/vectors.json $(DOC)/docs
	cp -R --no-preserve=ownership examples $(DOC)

uninstall:
	rm -f $(BIN)/netsysrq-mail
	rm -f $(MAN)/man1/netsysrq-mail.1 $(MAN)/man5/netsysrq-mail.toml.5 $(MAN)/man8/netsysrq-mail.8
	rm -rf $(DOC)

check:
	./test

.PHONY: all build install uninstall check
