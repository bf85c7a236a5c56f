# SPDX-License-Identifier: MIT
"""Writes tokens.json: byte-level BPE by Hugging Face's tokenizers (see README.md). Needs that package only."""

import json
import os
import platform

import tokenizers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
WORDS, ACROSS = 360, 240  # merges within words and across them

# What the vocabulary is trained on.
CORPUS = """
The wind came down from the hills in the evening, and the water in the harbour began to move. There was a light in the
window of the house, and somebody was singing. It's late, she said; we'll have to go, they're waiting, I've seen them,
I'd rather not, he isn't coming, I'm sure of that. The other children were in the garden, looking for the cat, which had
been sleeping under the apple tree since the morning. Nothing was heard of the ship for three years, until the month of
March 1897, when a bottle was found on the beach with a letter in it: 12 names, 4 numbers, and the words "we are here".
Der Wind kam am Abend von den Bergen herunter, und das Wasser im Hafen bewegte sich. Im Fenster des Hauses brannte ein
Licht, und jemand sang. Wir müssen gehen, sagte sie, die anderen warten schon. Größe, Straße, über, schön.
Le vent descendait des collines vers le soir, et l'eau du port commençait à bouger. Il y avait une lumière à la fenêtre
de la maison, et quelqu'un chantait. Nous devons partir, dit-elle, les autres attendent déjà. Où est l'été ?
El viento bajaba de las colinas al anochecer, y el agua del puerto empezaba a moverse. ¿Dónde está el niño? Mañana será.
Ветер спустился с холмов вечером, и вода в гавани начала двигаться. В окне дома горел свет, и кто-то пел.
Ο άνεμος κατέβηκε από τους λόφους το βράδυ και το νερό στο λιμάνι άρχισε να κινείται.
晚上风从山上吹下来，港口的水开始流动。房子的窗户里有灯光，有人在唱歌。
夕方、風が山から下りてきて、港の水が動きはじめた。家の窓には明かりがあり、だれかが歌っていた。
저녁에 바람이 언덕에서 내려왔고 항구의 물이 움직이기 시작했다.
نزلت الريح من التلال في المساء وبدأ الماء في الميناء يتحرك.
शाम को हवा पहाड़ियों से नीचे आई और बंदरगाह का पानी हिलने लगा।
int main() {
    for (int i = 0; i < 10; ++i) {
        if (values[i] == 0) return -1;
        total += values[i];
    }
    return total;
}
def area(width, height):
    \"\"\"The area of a rectangle.\"\"\"
    return width * height

"""
# Numbers, indents and signs, so that a wrong cut among them meets a merge.
SIGNS = """
0123456789 1234567890 12 123 1234 12345 000 0000 111 2024 3.14 1,000,000 a1 b2 x1 1a 10km
'S 'T 'RE 'VE 'M 'LL 'D 's 't 're 've 'm 'll 'd (a) .b !c
    if x:\n        return\n\n\n\t\tx\n.\n!\n?\n\n;\n}\n\n...\n \n \n  \n  \r\n\r\n
"""

# Each is one case. The comments say what it is for.
STRINGS = [
    # nothing, single bytes, white space
    "", "a", " ", "\n", "\t", "\r", "\r\n", "  ", "   ", "\n\n", "\n\n\n", " \n", "\n ", " \n ", "\t\t", " \t ", "\r\r\n\n", "\n\r",
    "a ", " a", "  a", "   a", "a  b", "a   b", "a\nb", "a\n\nb", "a \n b", "a\n\n  b", "a  \n\n  b  ", "a\tb", "a\t\tb", "a\r\nb",
    "a\r\n\r\nb", "a \r\n b", "trailing spaces   ", "   leading spaces", "a\u00a0b", "a\u00a0\u00a0b", "a\u2003b", "a\u2028b",
    "a\u2029b", "a\u3000b", "\u3000\u3000a", "a\u1680b", "a\u202fb", "a\u205fb", "a\u0085b", "a\u0085\u0085 b", "a\u180eb",
    "a \u180e b", "!\u180e?", "!\u001c?", "a\u200bb", "a \u200b b", "a\ufeffb", "\ufeffa", "a\u000bb", "a\u000cb", "a \u000c\u000b b", "a\u001cb",
    "a\u001c\u001d\u001e\u001fb", " \u001c ", "\u2028\n", "\n\u2028", " \u00a0\n\u00a0 x", "x\n \n \n y", "\n\n\t\tx", "!\n\n?", "!\r\n?",
    "! \n ?", ".\n", ".\n\n\n a",
    # control characters
    "\u0000", "\u0000\u0001\u0002\u0003", "a\u0000b", "\u0007 bell", "\u001b[31mred\u001b[0m", "\u007f", "a\u0080b", "\u0090\u009f",
    "\u00ad soft\u00adhyphen",
    # contractions
    "it's", "It's", "IT'S", "it'S", "don't we'll they're I've I'm he'd", "DON'T WE'LL THEY'RE I'VE I'M HE'D", "Don'T We'Ll They'Re",
    "'s", "'S", " 's", "'sa", "'st", "'re'", "''s", "'''", "'lll", "'l", "'v", "'r", "'ve've", "rock'n'roll", "l'eau d'été",
    "it\u2019s we\u2019ll", "a'\u017f", "'\u017ft", "o'\u212a", "O'Neill's", "'t was", "y'all'd've", "'D'M'T",
    # digits and numbers
    "0", "7", "42", "123", "1234", "12345", "123456789", " 1", " 12", "  123", "1 2 3", "1,234,567.89", "3.14159", "1e-9", "0x1F3A",
    "a1", "a1b2c3", "1a", "v2.0.1", "2024-02-29", "12:34:56", "+1 (555) 010-9999", "$5.00", "50%", "10km", "\u0661\u0662\u0663\u0664",
    "\u0967\u0968\u0969\u096a", "\uff11\uff12\uff13\uff14", "\u00b2\u00b3\u00b9", "x\u00b2+y\u00b2", "\u00bd cup", "1\u00bd", "\u2160\u2161\u2162",
    "\u2460\u2461\u2462", "\U0001d7d8\U0001d7d9\U0001d7da\U0001d7db", "\u3007\u4e00\u4e8c\u4e09", "year 1897 and 1898", "'1's", "5's",
    "1\n2\n3", "12\t34", "\u0be7\u0be8\u0be9",
    # words and sentences
    "hello", "Hello", "HELLO", "hello world", "Hello, world!", "The wind came down from the hills.", "the the the the", "themselves",
    "Nothing was heard of the ship for three years.", "She said: \"we are here\" (twice).", "well-known", "e.g. this, i.e. that...",
    "snake_case_name", "camelCaseName", "SCREAMING_CASE", "kebab-case-name", "a.b.c", "user@example.org", "https://example.org/a/b?c=d&e=f#g",
    "C:\\path\\to\\file.txt", "/usr/local/share", "zxqj", "zxqj zxqj", " zxqj", "zxqjv", "quux", " quux", " quuxx", "\nquux",
    # punctuation and symbols
    "!", "!!!", "...", " ...", "?!?!", "--", " -- ", "\u2014", "\u2026", "(a)", "[b]", "{c}", "<d>", "\"e\"", "`f`", "\u201cg\u201d", "\u00abh\u00bb",
    "a/b\\c|d", "~!@#$%^&*()_+-=", "\u20ac\u00a3\u00a5\u20bf", "\u00b1\u00d7\u00f7\u2260\u2264", "\u2190\u2191\u2192", "\u2200x\u2208\u211d: x\u00b2\u22650", "\u00a9\u00ae\u2122", "\u00b0C",
    "#tag @name", "a_b", "_", "__init__", "\u00aa\u00ba", "\u02b0\u02b2", "\u2071\u207f",
    # code
    "for (int i = 0; i < 10; ++i) {\n    total += values[i];\n}\n", "def area(width, height):\n    return width * height\n",
    "if (x == 0) return -1;", "\tif x:\n\t\treturn\n", "std::vector<std::string> v{\"a\", \"b\"};", "#include <vector>\n\n\nint x;", "a = b ? c : d;",
    "    \n    \n\n", "x  =  1;   // comment", "SELECT * FROM t WHERE id = 42;", "<p class=\"a\">text</p>", "{\"key\": [1, 2.5, null, true]}",
    "\\begin{align}\n  x &= y \\\\\n\\end{align}", "$ echo \"${HOME}\" | grep -v '^#'", "diff --git a/x b/x\n@@ -1,3 +1,4 @@\n-old\n+new\n", "0b1010 & 0o17",
    "a+=b;c-=d;", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    # languages
    "Der Wind kam am Abend von den Bergen herunter.", "Gr\u00f6\u00dfe, Stra\u00dfe, \u00fcber", "O\u00f9 est la fen\u00eatre ? L'\u00e9t\u00e9 d\u00e9j\u00e0.", "\u00bfD\u00f3nde est\u00e1 el ni\u00f1o? \u00a1Ma\u00f1ana!",
    "N\u00e3o h\u00e1 cora\u00e7\u00e3o", "\u0141\u00f3d\u017a, \u017c\u00f3\u0142w, ma\u015b\u0107", "P\u0159\u00edli\u0161 \u017elu\u0165ou\u010dk\u00fd k\u016f\u0148", "\u0130stanbul'da \u0131\u015f\u0131k", "\u00e6\u00f8\u00e5 \u00fe\u00f0",
    "Ветер спустился с холмов.", "В окне дома горел свет", "Привіт, як справи?", "Ο άνεμος κατέβηκε", "Καλημέρα κόσμε", "שלום עולם", "שָׁלוֹם",
    "نزلت الريح من التلال", "مَرْحَبًا", "سلام دنیا", "می\u200cخواهم", "हवा नीचे आई", "नमस्ते दुनिया", "বাংলা ভাষা", "தமிழ் மொழி", "తెలుగు", "ಕನ್ನಡ",
    "മലയാളം", "ไทยไม่มีช่องว่าง", "ພາສາລາວ", "မြန်မာစာ", "ភាសាខ្មែរ", "བོད་ཡིག", "ქართული ენა", "Հայերեն լեզու", "አማርኛ ቋንቋ",
    "晚上风从山上吹下来，港口的水开始流动。", "你好世界", "繁體中文「引號」", "夕方、風が山から下りてきて", "カタカナとひらがな", "ｶﾀｶﾅ ＡＢＣ", "저녁에 바람이", "안녕하세요 세계",
    "\u1112\u1161\u11ab\u1100\u1173\u11af", "Tiếng Việt rất đẹp", "ᠮᠣᠩᠭᠣᠯ", "ᏣᎳᎩ", "mixed 文字 and слова 123 και", "\U00020000\U0002a6d6", "𝒜𝓁𝓅𝒽𝒶", "𐍈𐌰𐌹",
    # combining marks
    "e\u0301", "cafe\u0301", "e\u0301e\u0300e\u0302", " \u0301", "\u0301", "a\u0301\u0327b", "n\u0303 o", "Z\u0351\u036f\u0342a\u0353lg\u035eo", "\u0928\u093f", "1\u0301", "!\u0301",
    "\u0e01\u0e33", "a\u20dd",
    # emoji, joiners, selectors, flags
    "\U0001f600", "\U0001f600\U0001f601", "hi \U0001f600!", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\u2764\ufe0f", "\u2764", "\U0001f44d\U0001f3fd", "\U0001f3f4\u200d\u2620\ufe0f",
    "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7", "1\ufe0f\u20e3", "\u200d", "a\u200db", "\U0001f3f3\ufe0f\u200d\U0001f308 flag", "\U0001f9d1\U0001f3ff\u200d\U0001f4bb", " \U0001f600 \n\U0001f601",
    # the ends of the code space
    "\ufffd", "\uffff", "\U0010ffff", "\U0001fffe", "\ue000private", "\ud7ff\ue000", "\u07ff\u0800", "\U00010000",
    # long words
    "a" * 100, "ab" * 60, "the" * 40, "x" * 33 + "y" * 33, " " * 70, "\n" * 40, " \n" * 20, "=" * 80, "-" * 79, "0" * 50, "ha" * 30 + "!",
    "." * 64, "\u4e00" * 30, "\U0001f600" * 12, "a b " * 15, "Donaudampfschifffahrtsgesellschaftskapit\u00e4n",
    "in" * 25 + "g", "antidisestablishmentarianism", " a" * 30, "1 " * 20,
]

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"


def published(numbers):
    """The expression of Llama 3's and Qwen2's tokenizer.json, which differ in how many number characters make a word."""
    return (CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|" + numbers
            + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def pre_tokenizer(name):
    if name == "gpt-2":
        return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if name == "smollm":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizer("gpt-2")])
    numbers = {"llama-bpe": r"\p{N}{1,3}", "qwen2": r"\p{N}"}[name]
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(published(numbers)), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def reference(tokens, merges, name):
    """The tokenizer of `tokenizers` for tokens by id, merges as "left right" and one of the names above."""
    model = models.BPE({token: i for i, token in enumerate(tokens)}, [tuple(merge.split(" ")) for merge in merges],
                       ignore_merges=name == "llama-bpe")
    result = Tokenizer(model)
    result.pre_tokenizer = pre_tokenizer(name)
    result.decoder = decoders.ByteLevel()
    return result


NAMES = ["smollm", "gpt-2", "llama-bpe", "qwen2"]


def trained(text, splitter, merges):
    result = Tokenizer(models.BPE())
    result.pre_tokenizer = splitter
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    result.train_from_iterator([text], trainers.BpeTrainer(vocab_size=256 + merges, initial_alphabet=alphabet,
                                                           show_progress=False))
    model = json.loads(result.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    return tokens, [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]


def vocabulary():
    """256 bytes, merges of the corpus within words and then across them (so that words cut elsewhere give other tokens),
    two words that no merge makes, and two control tokens."""
    tokens, merges = trained(CORPUS, pre_tokenizer("gpt-2"), WORDS)
    more, across = trained(12 * SIGNS + CORPUS, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False), ACROSS)
    tokens += [token for token in more if token not in tokens]
    merges += [merge for merge in across if merge not in merges]
    # (A space is U+0120 in the alphabet of bytes.)
    return tokens + ["zxqj", "\u0120quux", "<|end|>", "<|end|>!"], merges


def main():
    tokens, merges = vocabulary()
    assert len(set(tokens)) == len(tokens) and len(set(merges)) == len(merges)
    references = {name: reference(tokens, merges, name) for name in NAMES}
    cases = []
    for text in STRINGS:
        ids = {name: references[name].encode(text).ids for name in NAMES}
        for name in NAMES:
            assert references[name].decode(ids[name]) == text, (name, text)
        # In the alphabet of bytes a character is a byte.
        words = {name: [len(word) for word, _ in references[name].pre_tokenizer.pre_tokenize_str(text)] for name in NAMES}
        cases.append({"text": text, "ids": ids, "words": words})
    dumps = lambda x: json.dumps(x, separators=(",", ":"))
    head = {"generated_by": "make_tokens.py", "what": "byte-level BPE of strings under four pre-tokenizers",
            "versions": {"python": platform.python_version(), "tokenizers": tokenizers.__version__},
            "tokens": tokens, "merges": merges}
    path = os.path.join(HERE, "tokens.json")
    with open(path, "w", encoding="ascii", newline="\n") as out:
        out.write("{\n" + ",\n".join("%s:%s" % (dumps(k), dumps(v)) for k, v in head.items()))
        out.write(",\n\"cases\":[\n" + ",\n".join(map(dumps, cases)) + "\n]\n}\n")
    different = {name: sum(case["ids"][name] != case["ids"]["gpt-2"] for case in cases) for name in NAMES}
    print("%d cases, %d bytes; not as gpt-2: %s" % (len(cases), os.path.getsize(path), different))


if __name__ == "__main__":
    main()
