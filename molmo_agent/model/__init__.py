"""Molmo as ordinary transformers classes. Importing this registers them with the Auto classes."""

from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    AutoModelForPreTraining,
    AutoProcessor,
)

from molmo_agent.model.configuration import MolmoConfig
from molmo_agent.model.image_processor import MolmoImageProcessor
from molmo_agent.model.modeling import MolmoForConditionalGeneration, MolmoModel
from molmo_agent.model.processor import MolmoProcessor

AutoConfig.register("molmo", MolmoConfig, exist_ok=True)
AutoImageProcessor.register(MolmoConfig, slow_image_processor_class=MolmoImageProcessor, exist_ok=True)
AutoProcessor.register(MolmoConfig, MolmoProcessor, exist_ok=True)
AutoModel.register(MolmoConfig, MolmoModel, exist_ok=True)
# The released repositories name the first one; pipelines and trainers ask for any of the others.
for _auto in (AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForMultimodalLM, AutoModelForPreTraining):
    _auto.register(MolmoConfig, MolmoForConditionalGeneration, exist_ok=True)

__all__ = ["MolmoConfig", "MolmoForConditionalGeneration", "MolmoImageProcessor", "MolmoModel", "MolmoProcessor"]
