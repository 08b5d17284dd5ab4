# One night, from calibrated exposures to a difference image with its sources.
#
#   make -f examples/reduce.mk NIGHT=data/fixtures/night TARGET=data/fixtures/target.hdr \
#        VISITS="101 102 103 104 105 106" DETECTORS="1 2" SCIENCE=105 REDUCED=reduced -j 2
#
# The exposures are $(NIGHT)/v<visit>_d<detector>.fits. Every step reads and writes FITS files in folders
# of $(REDUCED), each written whole or not at all: a run that was stopped goes on where it was, and a file
# that is deleted or older than what it depends on is made again, with all that follows from it.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

SKYTOOL ?= skytool
NIGHT ?= data/fixtures/night
TARGET ?= data/fixtures/target.hdr
VISITS ?= 101 102 103 104 105 106
DETECTORS ?= 1 2
SCIENCE ?= 105
REFERENCE ?= 103
MODEL_FWHM ?= 6
REDUCED ?= reduced

OTHERS := $(filter-out $(SCIENCE),$(VISITS))
RUN := --overwrite -q

exposures = $(foreach detector,$(DETECTORS),$(1)/v$(2)_d$(detector).fits)
warps = $(foreach visit,$(2),$(REDUCED)/$(1)/v$(visit).fits)
folder = @mkdir -p $(@D)

SKY := $(foreach detector,$(DETECTORS),$(REDUCED)/sky/d$(detector).fits)
PICTURES := $(addprefix $(REDUCED)/pictures/,sky psf warps coadd dcr-model difference quality)
PICTURES := $(addsuffix .png,$(PICTURES))

# All files are named here: one that only a pattern knew would not be made again when it is gone.
.PHONY: all clean
all: $(SKY) $(foreach visit,$(VISITS),$(foreach step,clean psf,$(call exposures,$(REDUCED)/$(step),$(visit))))
all: $(foreach step,warps matched background,$(call warps,$(step),$(VISITS)))
all: $(REDUCED)/coadd.fits $(REDUCED)/dcr-model.fits $(PICTURES)
all: $(foreach step,template difference score sources kernel,$(call warps,$(step),$(SCIENCE)))

clean:
	rm -rf $(REDUCED)

# The pattern of each detector's response to the night sky, from all visits of the night.
$(REDUCED)/sky/d%.fits: $(foreach visit,$(VISITS),$(NIGHT)/v$(visit)_d%.fits)
	$(folder)
	$(SKYTOOL) skyframe build $^ -o $@ $(RUN)

# All detectors of a visit share one scale of that pattern: one run corrects them all.
$(call exposures,$(REDUCED)/clean,%): $(call exposures,$(NIGHT),%) $(SKY)
	$(folder)
	$(SKYTOOL) skyframe apply $(filter-out $(SKY),$^) --sky $(SKY) -d $(@D) $(RUN)

$(REDUCED)/psf/%.fits: $(REDUCED)/clean/%.fits
	$(folder)
	$(SKYTOOL) psf $< -o $@ $(RUN)

# One image for each visit on the common grid: as it is, and with one PSF for all.
$(REDUCED)/warps/v%.fits: $(call exposures,$(REDUCED)/psf,%) $(TARGET)
	$(folder)
	$(SKYTOOL) warp $(filter-out $(TARGET),$^) --like $(TARGET) -o $@ $(RUN)

$(REDUCED)/matched/v%.fits: $(call exposures,$(REDUCED)/psf,%) $(TARGET)
	$(folder)
	$(SKYTOOL) warp $(filter-out $(TARGET),$^) --like $(TARGET) --psf-matched --model-fwhm $(MODEL_FWHM) -o $@ $(RUN)

$(REDUCED)/background/v%.fits: $(REDUCED)/warps/v%.fits $(REDUCED)/warps/v$(REFERENCE).fits
	$(folder)
	$(SKYTOOL) match-bg $< --reference $(REDUCED)/warps/v$(REFERENCE).fits -o $@ $(RUN)

# What the sky looked like in all visits but the one to search: their mean, and a model of its colours,
# from which the template is made that refraction would show at the airmass of that visit.
$(REDUCED)/coadd.fits: $(call warps,background,$(OTHERS))
	$(SKYTOOL) coadd $^ -o $@ $(RUN)

$(REDUCED)/dcr-model.fits: $(call warps,background,$(OTHERS))
	$(SKYTOOL) dcr-assemble $^ --psf-aware -o $@ $(RUN)

$(REDUCED)/template/v%.fits: $(REDUCED)/dcr-model.fits $(REDUCED)/background/v%.fits
	$(folder)
	$(SKYTOOL) dcr-template $< --for $(REDUCED)/background/v$*.fits -o $@ $(RUN)

# What is new: the difference, its significance, and a table of what stands out; all of one run.
$(foreach product,difference score sources kernel,$(REDUCED)/$(product)/v%.fits): \
		$(REDUCED)/background/v%.fits $(REDUCED)/template/v%.fits
	@mkdir -p $(foreach product,difference score sources kernel,$(REDUCED)/$(product))
	$(SKYTOOL) diffim $^ -o $(REDUCED)/difference/v$*.fits --score $(REDUCED)/score/v$*.fits \
		--sources $(REDUCED)/sources/v$*.fits --kernel-out $(REDUCED)/kernel/v$*.fits $(RUN)

$(REDUCED)/pictures/sky.png: $(SKY)
	$(folder)
	$(SKYTOOL) show $^ -o $@ $(RUN)

# A PSF all over its detector, and the stars that it was measured on.
$(REDUCED)/pictures/psf.png: $(firstword $(call exposures,$(REDUCED)/psf,$(SCIENCE)))
	$(folder)
	$(SKYTOOL) show $< --extension PSF,PSFSTARS -o $@ $(RUN)

$(REDUCED)/pictures/warps.png: $(call warps,background,$(VISITS))
	$(folder)
	$(SKYTOOL) show $^ -o $@ $(RUN)

$(REDUCED)/pictures/coadd.png: $(REDUCED)/coadd.fits
	$(folder)
	$(SKYTOOL) show $< -o $@ $(RUN)

# Colours, the slopes of spectra, and what the model left of the exposures before and after.
$(REDUCED)/pictures/dcr-model.png: $(REDUCED)/dcr-model.fits
	$(folder)
	$(SKYTOOL) show $< --extension DCR,SLOPE,RESIDUAL0,RESIDUAL1 -o $@ $(RUN)

# One recipe makes all that diffim finds: what depends on one of them depends on all.
FOUND := $(foreach product,difference score sources kernel,$(REDUCED)/$(product)/v$(SCIENCE).fits)

$(REDUCED)/pictures/difference.png: $(foreach step,background template,$(REDUCED)/$(step)/v$(SCIENCE).fits) $(FOUND)
	$(folder)
	$(SKYTOOL) show $(wordlist 1,3,$^) --planes NO_DATA -o $@ $(RUN)

# The kernel, how the pixels of the difference scatter, and where sources are.
$(REDUCED)/pictures/quality.png: $(FOUND)
	$(folder)
	$(SKYTOOL) show $< --extension KERNELS,SNRHIST,SOURCES -o $@ $(RUN)
