"""Caption words as `pycocoevalcap` counts them, without Java.

Published caption scores are computed on the words of Stanford's PTBTokenizer (CoreNLP 3.4.1,
`-preserveLines -lowerCase`) minus a list of punctuation marks. Its conventions are the Penn
Treebank's: don't -> do n't, dog's -> dog 's, cannot -> can not. The rules below were found by
looking at what that program prints, and cover what a caption can contain: no emoticons, no
HTML entities, no numbers with a sign.
"""

import re

# The list of pycocoevalcap 1.2. It is compared with lower-cased words, so its -LRB- and -RRB-
# never match and brackets stay in the caption as -lrb- and -rrb-. Scores depend on that: keep it.
PUNCTUATION = frozenset("'' ' `` ` -LRB- -RRB- -LCB- -RCB- . ? ! , : - -- ... ;".split())

# Words that keep their full stop wherever they stand. Abbreviations that are English words when
# written small (Ill., Mass., Miss., Wash.) are left out.
ABBREVIATIONS = (
    "mr mrs ms dr prof messrs mme mlle hon jr sr st ste mt ft ct sq ave blvd rd bldg bros co corp "
    "inc ltd assn assoc univ dept mfg est ext tel vs etc al cf ph.d "
    "adm atty capt cmdr col cpl det gen gov insp lt maj pres pvt rep rev sen sgt spc supt "
    "ala ariz calif colo conn fla ind kan ky md mich minn mont neb nev okla penn tenn va vt wis "
    "wyo jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thurs fri"
)

TYPOGRAPHY = str.maketrans(
    {"‘": "'", "’": "'", "“": '"', "”": '"', "«": '"', "»": '"', "–": " - ", "—": " - "}
    | {"…": " . ", "½": "1/2", "¼": "1/4", "¾": "3/4", "£": "#", "€": "$"}
)

# Words that become two: a space goes between the two groups.
SPLIT_RULES = [
    (re.compile(pattern, re.IGNORECASE), r"\1 \2")
    for pattern in (
        r"(?<=[a-z])()(?<!n)(n't)(?![a-z])",
        r"(?<![\w-])(can)(not)(?![\w-])",
        r"(?<![\w-])(gon|wan)(na)(?![\w-])",
        r"(?<![\w-])(got)(ta)(?![\w-])",
        r"(?<![\w-])(gim|lem)(me)(?![\w-])",
        r"('t)(is|was)\b",
        r"(\by')(all\b)",
    )
]

TOKEN = re.compile(
    rf"""
      https?://\S+ | [\w.-]+@[\w-]+\.\w+ | </?[a-z]+>
    | n't\b | 't(?=[ ](?:is|was)) | y'(?=[ ]all)     # made by SPLIT_RULES
    | '(?:s|m|d|ll|re|ve)\b                         # dog 's, they 're
    | '(?:em|til|cause)\b | 'n(?:'|\b) | ol' | '\d0s\b   # rock 'n' roll, '80s
    | (?:{ABBREVIATIONS.replace(" ", "|").replace(".", r"[.]")})\.(?!\w)
    | nos?\.(?=\s*\d)                           # No. 7, but "says no."
    | (?:[^\W\d_]\.)+(?![^\W\d_])               # initials: U.S.  p.m.
    | [^\W\d_]\w*(?:\.[^\W\d_]\w*)+             # a forgotten space: dog.The; foo.com
    | (?-i:[A-Z]+&[A-Z]+)                       # AT&T, but at & t
    | \d+(?::\d+)+(?=[ap]m)                     # 7:30 pm
    | \w+ (?: (?: [-/]                          # black-and-white, 1/2, and/or
                | (?<=\d)[.,:](?=\d)            # 3,000  3.5  10:30
                | (?<=[aeiouy])'(?=[aeiou])     # ma'am, hawai'i
                | (?<=\b[dlo])'(?=[a-z]{{3}})   # o'clock, but o 's
                ) \w+ )*
    | [#@][^\W\d]\w*
    | [!?]+                                     # "!!" is a word: only single marks are removed
    | \S
    """,
    re.VERBOSE | re.IGNORECASE,
)

TOKEN_NAMES = {
    '"': "''", "(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"
}  # fmt: skip


def tokenize(caption: str) -> list[str]:
    """The lower-case words of one caption, punctuation left out; [] when there are none."""
    caption = caption.translate(TYPOGRAPHY)
    for pattern, parts in SPLIT_RULES:
        caption = pattern.sub(parts, caption)
    words = (TOKEN_NAMES.get(token, token.lower()) for token in TOKEN.findall(caption))
    return [word for word in words if word not in PUNCTUATION]
