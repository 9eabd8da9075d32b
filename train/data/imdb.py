"""IMDB's film reviews as sequences of words: is the review positive? Maas et al., ACL 2011.

They come from TFDS (`imdb_reviews`), already shuffled.
"""

from collections.abc import Sequence
from typing import Any

import ml_collections
import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

from train.data import tfds
from train.data.types import Parts, Split, hold_out

CLASSES = ("negative", "positive")
# Tokens of padding, and of words outside the vocabulary.
NOTHING, UNKNOWN = 0, 1


def load(config: ml_collections.ConfigDict) -> Parts:
    """Reviews as tokens; the last training reviews are for validation.

    Returns:
        Parts with images uint16 [n, 1, length, 1]: the last words of each review, where most
        reviews conclude, after `NOTHING` if there are fewer. The tokens are `NOTHING`, `UNKNOWN`
        and the most frequent words of the reviews for training. labels: 1 for positive reviews.
    """
    with tfds.readable(config):
        rest, test = tfds.examples(tfds.prepared_builder(config.name, config.data_dir))
    words = CountVectorizer(max_features=config.vocabulary - 2, stop_words=["br"])
    words.fit(example["text"] for example in rest[: len(rest) - config.validation])
    analyse, known = words.build_analyzer(), words.vocabulary_

    def split(examples: Sequence[Any]) -> Split:
        tokens = np.full((len(examples), 1, config.length, 1), NOTHING, np.uint16)
        for row, example in zip(tokens[:, 0, :, 0], examples, strict=True):
            last = analyse(example["text"])[-config.length :]
            row[config.length - len(last) :] = [known.get(x, UNKNOWN - 2) + 2 for x in last]
        return Split(tokens, tfds.labels(examples))

    return Parts(*hold_out(split(rest), config.validation), split(test), CLASSES)
