"""WikiText-2 for language models: which word comes next? Merity et al., ICLR 2017.

An example is a word of the text, to be told from the words before it, so that what is decided for
each example is decided for each word. TFDS has no such data set: the files are put where it keeps
what is copied by hand.
"""

from collections import Counter
from collections.abc import Sequence

from etils import epath
import numpy as np

from train.data.types import Split
from train.errors import UserError

# Tokens of what is before the text, and of the words that are not in the vocabulary.
NOTHING, UNKNOWN = "", "<unk>"
_END = "<eos>"  # of a line


def load(
    folder: epath.Path, validation: int, length: int, vocabulary: int
) -> tuple[tuple[Split, Split, Split], tuple[str, ...]]:
    """Words and what is before them.

    Args:
        folder: has wiki.train.tokens, wiki.valid.tokens and wiki.test.tokens.
        validation: how many of the validation text's words are used, from its beginning.
        length: words before each that are seen.
        vocabulary: number of tokens, `NOTHING` and `UNKNOWN` among them; the others are the most
            frequent words of the training text, whose 33,278 (with the end of a line) all fit into
            33,279.

    Returns:
        Training, validation and test examples, one a word of the text, and the tokens. images:
        uint16 [n, 1, length, 1], tokens, `NOTHING` before the text's first word. labels: the word.

    Raises:
        UserError: arguments out of range, or files that are not there.
    """
    if length < 1 or not 3 <= vocabulary <= 2**16:
        raise UserError(
            "config.data: expected length >= 1 and vocabulary from 3 to 65,536, got "
            f"length={length}, vocabulary={vocabulary}."
        )
    texts = [_words(folder / f"wiki.{part}.tokens") for part in ("train", "valid", "test")]
    counts = Counter(texts[0])
    del counts[UNKNOWN]
    frequent = (word for word, _ in counts.most_common(vocabulary - 2))
    tokens = (NOTHING, UNKNOWN, *frequent)
    known = {word: token for token, word in enumerate(tokens)}
    places = lambda text: [known.get(word, known[UNKNOWN]) for word in text]
    train, valid, test = (_windows(places(text), length) for text in texts)
    if not 1 <= validation <= len(valid.labels):
        raise UserError(
            f"config.data.validation: expected 1 to {len(valid.labels)} examples, got {validation}."
        )
    return (train, valid.take(slice(validation)), test), tokens


def _words(file: epath.Path) -> list[str]:
    if not file.is_file():
        raise UserError(
            f"wikitext2: {file.name} not found in {file.parent}. Copy the three wiki.*.tokens of "
            "WikiText-2 there, or name the folder whose downloads/manual/wikitext-2 has them with "
            "--config.data.data_dir=DIR."
        )
    with file.open(encoding="utf-8") as lines:
        return [word for line in lines for word in (*line.split(), _END)]


def _windows(text: Sequence[int], length: int) -> Split:
    padded = np.concatenate([np.zeros(length, np.uint16), np.array(text, np.uint16)])
    before = np.lib.stride_tricks.sliding_window_view(padded[:-1], length)
    return Split(before[:, None, :, None], padded[length:].astype(np.int32))
