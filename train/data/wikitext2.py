"""WikiText-2 for language models: which word comes next? Merity et al., ICLR 2017.

An example is a word of the text, to be predicted from the words before it. The agent then decides
for each word. TFDS has no such data set: its files are copied by hand to the folder where TFDS
keeps files that it cannot download.
"""

from collections import Counter
from collections.abc import Sequence

from etils import epath
import ml_collections
import numpy as np
from tensorflow_datasets.core import constants

from train.data.types import Parts, Split
from train.errors import UserError

# Tokens of what is before the text, and of words outside the vocabulary.
NOTHING, UNKNOWN = "", "<unk>"
_END = "<eos>"  # of a line
# In the folder of TFDS.
_FOLDER = "downloads/manual/wikitext-2"


def load(config: ml_collections.ConfigDict) -> Parts:
    """Words and the words before them.

    Returns:
        Parts with one example a word of the text; the validation text is used from its beginning.
        images: uint16 [n, 1, length, 1], tokens, `NOTHING` before the text's first word. labels:
        the token of the word. The tokens are `NOTHING`, `UNKNOWN` and the most frequent words of
        the training text; its 33,278 words, the end of a line among them, fit into 33,279 tokens.

    Raises:
        UserError: a file is not there, or cannot be read.
    """
    folder = epath.Path(config.data_dir or constants.DATA_DIR).expanduser() / _FOLDER
    texts = [_words(folder / f"wiki.{part}.tokens") for part in ("train", "valid", "test")]
    counts = Counter(texts[0])
    del counts[UNKNOWN]
    frequent = (word for word, _ in counts.most_common(config.vocabulary - 2))
    tokens = (NOTHING, UNKNOWN, *frequent)
    known = {word: token for token, word in enumerate(tokens)}
    places = lambda text: [known.get(word, known[UNKNOWN]) for word in text]
    train, valid, test = (_windows(places(text), config.length) for text in texts)
    return Parts(train, valid.take(slice(config.validation)), test, tokens)


def _words(file: epath.Path) -> list[str]:
    if not file.is_file():
        raise UserError(
            f"wikitext2: {file.name} not found in {file.parent}. Copy the three wiki.*.tokens of "
            "WikiText-2 there, or name the folder whose downloads/manual/wikitext-2 has them with "
            "--config.data.data_dir=DIR."
        )
    try:
        with file.open(encoding="utf-8") as lines:
            words = [word for line in lines for word in (*line.split(), _END)]
        if not words:
            raise ValueError("it is empty")
    except (OSError, ValueError) as error:
        raise UserError(f"wikitext2: cannot read {file}: {error}. Copy the file again.") from error
    return words


def _windows(text: Sequence[int], length: int) -> Split:
    padded = np.concatenate([np.zeros(length, np.uint16), np.array(text, np.uint16)])
    before = np.lib.stride_tricks.sliding_window_view(padded[:-1], length)
    return Split(before[:, None, :, None], padded[length:].astype(np.int32))
