"""The Molmo model, composed of transformers' own vision tower and decoder.

The forward pass: The vision tower encodes every crop separately. The connector pools windows of patches and projects
them to the decoder's width. Each image feature is *added* to the embedding of its image token. The decoder attends
causally over the sequence, including the image tokens.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoModel, GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import Cache
from transformers.utils.generic import can_return_tuple

from molmo_agent.model.backbones import from_backbones
from molmo_agent.model.checkpoints.loading import load
from molmo_agent.model.configuration import MolmoConfig
from molmo_agent.model.connector import MolmoConnector
from molmo_agent.model.embedding import MolmoEmbedding
from molmo_agent.model.inputs.call_arguments import refuse_unknown
from molmo_agent.model.inputs.image_places import add_features, check_picture_inputs, expect_picture, places
from molmo_agent.model.message_tree import message_tree_mask
from molmo_agent.model.outputs import MolmoModelOutput, MolmoOutput, mean_loss, next_tokens
from molmo_agent.model.residual_dropout import ResidualDropout
from molmo_agent.model.transformers_names import CACHE, cache_of, one_cache
from molmo_agent.model.vision_tower import build_tower, patch_features


class MolmoPreTrainedModel(PreTrainedModel):
    """Settings of all Molmo modules for transformers."""

    config_class = MolmoConfig
    config: MolmoConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _no_split_modules = [
        *("CLIPEncoderLayer", "SiglipEncoderLayer", "Dinov2Layer"),
        *("Qwen2DecoderLayer", "Olmo2DecoderLayer", "OlmoeDecoderLayer"),
    ]
    _skip_keys_device_placement = ["cache", "past_key_values"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, MolmoConnector) and module.pad_embed is not None:
            init.zeros_(module.pad_embed)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load a checkpoint: our own layout, a released repository's, or a folder of the authors' training code.

        Takes what any transformers model takes (``dtype``, ``device_map``, ``quantization_config``, ...).

        Raises:
            ValueError: weights are missing, unknown or of the wrong shape: nothing half-loaded is returned.
        """
        return load(cls, super().from_pretrained, pretrained_model_name_or_path, *args, **kwargs)

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> nn.Embedding:
        """Resize the embedding table (and the output head) as in any transformers model; all ids keep their rows.

        The extra rows become ordinary ones, so that the image tokens stay where the tokenizer has them:
        ``new_num_tokens`` counts all of the tokenizer's tokens, ``len(tokenizer)``.

        Raises:
            ValueError: the table would end before the image tokens.
        """
        table = self.get_input_embeddings()
        if isinstance(table, MolmoEmbedding) and (new_num_tokens is not None or pad_to_multiple_of is not None):
            needed = 1 + max(self.config.image_token_ids)
            if new_num_tokens is not None and new_num_tokens < needed:
                raise ValueError(
                    f"expected at least {needed} rows, because the image tokens have ids up to {needed - 1}; got "
                    f"{new_num_tokens}. Resize to len(tokenizer), with the tokenizer saved beside the checkpoint"
                )
            table.join_extra_rows()
            self.config.additional_vocab_size = 0
        return super().resize_token_embeddings(new_num_tokens, pad_to_multiple_of, mean_resizing)

    def save_pretrained(self, *args: Any, save_original_format: bool = False, **kwargs: Any) -> None:
        """Write the model in our own layout; ``checkpoints.molmo_0924.to_official`` gives the released one."""
        super().save_pretrained(*args, save_original_format=save_original_format, **kwargs)


class MolmoModel(MolmoPreTrainedModel):
    """Vision tower + connector + decoder, without the output head."""

    _keys_to_ignore_on_load_unexpected = ["lm_head.weight"]

    def __init__(self, config: MolmoConfig) -> None:
        super().__init__(config)
        self.vision_tower: Any = build_tower(config.vision_config)
        self.connector = MolmoConnector(config)
        self.language_model = AutoModel.from_config(config.text_config, trust_remote_code=False)
        text: Any = config.text_config
        self.language_model.embed_tokens = MolmoEmbedding(
            text.vocab_size, config.additional_vocab_size, text.hidden_size, config.initializer_range
        )
        self._dropout = ResidualDropout(self.language_model)
        self.set_dropout(config.residual_dropout, config.answer_dropout)
        self.post_init()

    def set_dropout(self, everywhere: float, answers: float) -> None:
        """Set the dropout on the decoder's residual branches: at every token, and at answers."""
        self.config.residual_dropout, self.config.answer_dropout = everywhere, answers
        self._dropout.set(everywhere, answers)

    def seed_dropouts(self) -> None:
        """Let dropout inside the decoder's layers, that of adapters, follow ``example_seeds``."""
        self._dropout.seed_dropouts()

    def get_input_embeddings(self) -> nn.Module:
        """Return the embedding table."""
        return cast(nn.Module, self.language_model.embed_tokens)

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the embedding table."""
        self.language_model.embed_tokens = value

    def get_image_features(self, pixel_values: Tensor, image_masks: Tensor | None = None) -> Tensor:
        """Encode crops.

        Args:
            pixel_values: (B, C, N, patch*patch*3) normalised crops as rows of patches; in a patch the order is row,
                column, channel. A crop of nothing but -1 is padding: its features are zeroed before the connector.
            image_masks: (B, C, N) share of each patch that is image, or -1.

        Returns:
            (B, C, G, D) image features.
        """
        batch, num_crops = pixel_values.shape[:2]
        crops = pixel_values.flatten(0, 1)
        patches = self.encode_crops(crops)
        if crops.dtype != torch.uint8:  # padding has no value in eight bits, and its features are dropped anyway
            is_real = (crops != -1).flatten(1).any(1)
            patches = patches * is_real[:, None, None].to(patches.dtype)
        masks = None if image_masks is None else image_masks.flatten(0, 1)
        return self.connector(patches, masks).unflatten(0, (batch, num_crops))

    def encode_crops(self, crops: Tensor) -> Tensor:
        """Encode (M, N, patch*patch*3) crops with the tower; return (M, N, width * number of connector layers).

        Eight-bit crops are normalised here, on the device.
        """
        vision: Any = self.config.vision_config
        if crops.dtype == torch.uint8:
            mean, std = (
                crops.new_tensor(x, dtype=torch.float32) for x in (self.config.image_mean, self.config.image_std)
            )
            repeats = crops.shape[-1] // 3
            crops = (crops.float() / 255 - mean.repeat(repeats)) / std.repeat(repeats)
        side, patch = self.config.num_patches_per_side, vision.patch_size
        pixels = crops.view(-1, side, side, patch, patch, 3).permute(0, 5, 1, 3, 2, 4)
        pixels = pixels.reshape(-1, 3, side * patch, side * patch).to(self.vision_tower.dtype)
        return patch_features(self.vision_tower, pixels, tuple(self.config.vit_layers))

    def embed(self, input_ids: Tensor, image_features: Tensor | None, image_input_idx: Tensor | None) -> Tensor:
        """Look up (B, T) ids and add image features at their tokens.

        Args:
            input_ids: (B, T); negative ids are padding.
            image_features: (B, C, G, D).
            image_input_idx: (B, C, G) position of each feature in the sequence; negative: the feature is dropped.

        Raises:
            ValueError: a feature meets no image token; see :func:`.image_places.places`.
        """
        embeds = self.language_model.embed_tokens(input_ids.clamp(min=0))
        if image_features is not None and image_input_idx is not None:
            image_input_idx = self._places(image_input_idx, input_ids, None)
        return add_features(embeds, image_features, image_input_idx)

    def _places(self, index: Tensor, input_ids: Tensor | None, inputs_embeds: Tensor | None) -> Tensor:
        """Return (B, C, G) places on image tokens, also in embeddings that were looked up by somebody else."""
        patch = self.config.image_patch_token_id
        if inputs_embeds is not None:
            token = self.language_model.embed_tokens(inputs_embeds.new_tensor([patch], dtype=torch.long))
            is_image = (inputs_embeds == token.to(inputs_embeds.dtype)).all(-1)
        else:
            is_image = cast(Tensor, input_ids) == patch
        return places(index.flatten(1), is_image).view_as(index)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_input_idx: Tensor | None = None,
        image_masks: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        subsegment_ids: Tensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        image_features: Tensor | None = None,
        answer_mask: Tensor | None = None,
        use_cache: bool | None = None,
        past_key_values: Cache | None = None,
        **kwargs: Any,
    ) -> MolmoModelOutput:
        """Run the model up to the decoder's last hidden state.

        Args:
            input_ids: (B, T) tokens; negative ids are padding.
            pixel_values: (B, C, N, patch*patch*3), see :meth:`get_image_features`.
            image_input_idx: (B, C, G), see :meth:`embed`.
            image_masks: (B, C, N).
            attention_mask: (B, T) 1 on tokens, 0 on padding; or a ready-made 4-D mask.
            position_ids: (B, T); by default the running count of tokens that are not padding.
            subsegment_ids: (B, T) for several annotations of one image; needs ``position_ids``; no cache.
            cache: keys and values of earlier tokens; ``past_key_values`` is its name before transformers 5.24.
            inputs_embeds: (B, T, D) instead of ``input_ids``. Pictures are added at the image tokens' own embeddings.
            image_features: (B, C, G, D) encoded earlier, not ``pixel_values``.
            answer_mask: (B, T), True at target tokens, to which ``answer_dropout`` applies in training.
            use_cache: return keys and values.
            past_key_values: see ``cache``.
            kwargs: passed on to the decoder.

        Raises:
            ValueError: inputs that contradict each other, or a picture that is incomplete or not at its tokens.
            TypeError: an input that nobody would look at.
        """
        refuse_unknown(kwargs, self.forward)
        check_picture_inputs(pixel_values, image_features, image_input_idx, image_masks)
        cache = one_cache(cache, past_key_values)
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("expected exactly one of input_ids and inputs_embeds")
        if pixel_values is not None:
            image_features = self.get_image_features(pixel_values, image_masks)
        if image_features is not None and image_input_idx is not None:
            image_input_idx = self._places(image_input_idx, input_ids, inputs_embeds)
        if input_ids is None:
            embeds = add_features(cast(Tensor, inputs_embeds), image_features, image_input_idx)
        else:
            expect_picture(input_ids, image_features, self.config.image_token_ids, cache)
            embeds = self.embed(input_ids, image_features, image_input_idx)
            if attention_mask is None and cache is None and bool((input_ids < 0).any()):
                attention_mask = (input_ids >= 0).long()
        if position_ids is None and attention_mask is not None and attention_mask.dim() == 2:
            position_ids = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, -embeds.shape[1] :]
        if subsegment_ids is not None:
            if position_ids is None or cache is not None or use_cache:
                raise ValueError("subsegment_ids needs explicit position_ids and no cache (use_cache=False)")
            use_cache = False
            attention_mask = message_tree_mask(subsegment_ids, attention_mask, embeds.dtype)
        if answer_mask is not None and self.training and self.config.answer_dropout:
            kwargs["answer_mask"] = answer_mask
        outputs = self.language_model(
            inputs_embeds=embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            use_cache=use_cache,
            return_dict=True,
            **{CACHE: cache},
            **kwargs,
        )
        return MolmoModelOutput(
            last_hidden_state=outputs.last_hidden_state,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_features=image_features,
            **{CACHE: cache_of(outputs)},
        )


class MolmoForConditionalGeneration(MolmoPreTrainedModel, GenerationMixin):
    """Molmo with its output head, for loading, training and generation."""

    _tied_weights_keys = {"lm_head.weight": "model.language_model.embed_tokens.weight"}

    @classmethod
    def from_backbones(cls, vision: Any, language: Any, **options: Any) -> "MolmoForConditionalGeneration":
        """Start training from a vision encoder and a language model; see :func:`.backbones.from_backbones`."""
        return cast("MolmoForConditionalGeneration", from_backbones(cls, vision, language, **options))

    def __init__(self, config: MolmoConfig) -> None:
        super().__init__(config)
        text: Any = config.text_config
        self.model = MolmoModel(config)
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Return the embedding table."""
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the embedding table."""
        self.model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """Return the output head."""
        return self.lm_head

    def get_image_features(self, pixel_values: Tensor, image_masks: Tensor | None = None) -> Tensor:
        """See :meth:`MolmoModel.get_image_features`."""
        return self.model.get_image_features(pixel_values, image_masks)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_input_idx: Tensor | None = None,
        image_masks: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        past_key_values: Cache | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **kwargs: Any,
    ) -> MolmoOutput:
        """Run the model to logits and, with ``labels``, to the loss.

        Args:
            input_ids: (B, T) tokens.
            pixel_values: (B, C, N, patch*patch*3) crops.
            image_input_idx: (B, C, G) positions of the image features.
            image_masks: (B, C, N) share of each patch that is image.
            attention_mask: (B, T), or a ready-made 4-D mask.
            position_ids: (B, T).
            cache: keys and values of earlier tokens.
            inputs_embeds: (B, T, D) instead of ``input_ids``.
            labels: (B, T) the same sequence, negative at tokens without a loss; shifted here. Image tokens have none.
            logits_to_keep: number of last positions to compute logits for (0: all), or a tensor of positions.
            past_key_values: the name of ``cache`` in transformers before 5.24.
            num_items_in_batch: what the summed loss is divided by, as transformers' Trainer counts over several
                micro-batches; by default the number of targets in this batch.
            kwargs: see :meth:`MolmoModel.forward`.

        Raises:
            ValueError: see :meth:`MolmoModel.forward`.
            TypeError: an input that nobody would look at.
        """
        outputs = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            image_input_idx=image_input_idx,
            image_masks=image_masks,
            attention_mask=attention_mask,
            position_ids=position_ids,
            cache=one_cache(cache, past_key_values),
            inputs_embeds=inputs_embeds,
            return_dict=True,
            **kwargs,
        )
        states = outputs.last_hidden_state
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) and logits_to_keep else logits_to_keep
        logits = self.lm_head(states if isinstance(keep, int) else states[:, keep])
        loss = None
        if labels is not None:
            targets = next_tokens(labels, self.config.image_token_ids)
            targets = targets if isinstance(keep, int) else targets[:, keep]
            loss = mean_loss(logits, targets, num_items_in_batch)
        return MolmoOutput(
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            last_hidden_state=states,
            image_features=outputs.image_features,
            **{CACHE: cache_of(outputs)},
        )

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        *args: Any,
        inputs_embeds: Tensor | None = None,
        is_first_iteration: bool | None = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Feed the image on the first pass only; afterwards its keys and values are in the cache.

        Raises:
            ValueError: a prompt is padded on the right: its answer would begin behind the padding.
        """
        mask = kwargs.get("attention_mask")
        if is_first_iteration and mask is not None and mask.dim() == 2 and not bool(mask[:, -1].all()):
            raise ValueError(
                "expected prompts padded on the left for generating, because answers continue the last token; got an "
                "attention_mask that ends in 0: set processor.tokenizer.padding_side = 'left'"
            )
        inputs = super().prepare_inputs_for_generation(
            input_ids, *args, inputs_embeds=inputs_embeds, is_first_iteration=is_first_iteration, **kwargs
        )
        if CACHE in inputs:
            inputs["past_key_values"] = inputs.pop(CACHE)  # the one name by which PEFT finds it
        if not is_first_iteration and kwargs.get("use_cache", True):
            for name in ("pixel_values", "image_input_idx", "image_masks", "image_features"):
                inputs.pop(name, None)
        return inputs
