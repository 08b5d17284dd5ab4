# A variable star in a crowded field, from bare frames without variance, mask or PSF.
#
#   make -f examples/variable.mk DATA=../shared/data REDUCED=variable -j 2
#
# The frames are $(DATA)/bulge/frame_<number>.fits; $(SCIENCE) is searched, the others are the template.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

SKYTOOL ?= skytool
DATA ?= ../shared/data
SCIENCE ?= frame_0091
REDUCED ?= variable

NAMES := $(basename $(notdir $(wildcard $(DATA)/bulge/frame_*.fits)))
ifeq ($(filter $(SCIENCE),$(NAMES)),)
$(error there is no $(DATA)/bulge/$(SCIENCE).fits: give DATA, the folder of real exposures)
endif
OTHERS := $(filter-out $(SCIENCE),$(NAMES))
RUN := --overwrite -q
files = $(foreach name,$(2),$(REDUCED)/$(1)/$(name).fits)
folder = @mkdir -p $(@D)

.PHONY: all
all: $(foreach step,psf warps matched,$(call files,$(step),$(NAMES))) $(REDUCED)/template.fits
all: $(REDUCED)/difference.fits $(REDUCED)/sources.fits $(REDUCED)/difference.png $(REDUCED)/warps.png

# The noise follows from the gain and read noise of the headers; stars tell the PSF.
$(REDUCED)/psf/%.fits: $(DATA)/bulge/%.fits
	$(folder)
	$(SKYTOOL) psf $< --saturate 65300 -o $@ $(RUN)

$(REDUCED)/warps/%.fits: $(REDUCED)/psf/%.fits $(REDUCED)/psf/$(SCIENCE).fits
	$(folder)
	$(SKYTOOL) warp $< --like $(REDUCED)/psf/$(SCIENCE).fits -o $@ $(RUN)

$(REDUCED)/matched/%.fits: $(REDUCED)/warps/%.fits $(REDUCED)/warps/$(SCIENCE).fits
	$(folder)
	$(SKYTOOL) match-bg $< --reference $(REDUCED)/warps/$(SCIENCE).fits --scale fit -o $@ $(RUN)

$(REDUCED)/template.fits: $(call files,matched,$(OTHERS))
	$(SKYTOOL) coadd $^ -o $@ $(RUN)

# Both files come of one run: the patterns, in which % is a dot, tell make so.
$(REDUCED)/difference%fits $(REDUCED)/sources%fits: $(REDUCED)/matched/$(SCIENCE).fits $(REDUCED)/template.fits
	$(SKYTOOL) diffim $^ -o $(REDUCED)/difference.fits --sources $(REDUCED)/sources.fits $(RUN)

$(REDUCED)/warps.png: $(call files,matched,$(NAMES))
	$(SKYTOOL) show $^ -o $@ $(RUN)

$(REDUCED)/difference.png: $(REDUCED)/difference.fits $(REDUCED)/sources.fits
	$(SKYTOOL) show $< -o $@ $(RUN)
