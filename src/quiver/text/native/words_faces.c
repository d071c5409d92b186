/* Words of text: words.py says what they are. */
#include <string.h>

#include "faces.h"

#define MOST_CHARACTERS 64

/* The text that is read, and where its words go. */
typedef struct {
    int kind;
    const void *data;
    Py_ssize_t size;
    const uint8_t *marks; /* a bit for each character, as far as `mark_end` */
    Py_ssize_t mark_end;
    int pairs;
    PyObject *words;
} Text;

static Py_UCS4 at(const Text *text, Py_ssize_t i) {
    return i < text->size ? PyUnicode_READ(text->kind, text->data, i) : 0;
}

static int is_digit(Py_UCS4 one) {
    return one >= '0' && one <= '9';
}

static int is_letter_or_digit(Py_UCS4 one) {
    return one < 128 ? is_digit(one) || (one | 0x20) - 'a' < 26 : Py_UNICODE_ISALNUM(one);
}

static int is_mark(const Text *text, Py_UCS4 one) {
    return (Py_ssize_t)one < text->mark_end && text->marks[one / 8] >> one % 8 & 1;
}

/* There for layout only: no part of the spelling. */
static int is_layout(Py_UCS4 one) {
    return one == 0xad || one == 0x34f || one == 0x61c || (one >= 0x180b && one <= 0x180f) ||
           (one >= 0x200c && one <= 0x200f) || (one >= 0x202a && one <= 0x202e) ||
           (one >= 0x2060 && one <= 0x2069) || (one >= 0xfe00 && one <= 0xfe0f) || one == 0xfeff ||
           (one >= 0xe0100 && one <= 0xe01ef);
}

static int is_han_or_hiragana(Py_UCS4 one) {
    return (one >= 0x3005 && one <= 0x3007) || (one >= 0x3021 && one <= 0x3029) || (one >= 0x3038 && one <= 0x303b) ||
           (one >= 0x3041 && one <= 0x3096) || (one >= 0x309d && one <= 0x309f) ||
           (one >= 0x3400 && one <= 0x4dbf) || (one >= 0x4e00 && one <= 0x9fff) ||
           (one >= 0xf900 && one <= 0xfaff) || (one >= 0x1b001 && one <= 0x1b11f) || (one >= 0x20000 && one <= 0x3ffff);
}

static int is_katakana_or_hangul(Py_UCS4 one) {
    return (one >= 0x1100 && one <= 0x11ff) || (one >= 0x30a1 && one <= 0x30fa) || (one >= 0x30fc && one <= 0x30ff) ||
           (one >= 0x31f0 && one <= 0x31ff) || (one >= 0xa960 && one <= 0xa97c) || (one >= 0xac00 && one <= 0xd7fb);
}

/* Whether a character stands apart from the words around it. */
static int is_apart(const Text *text, Py_UCS4 one) {
    return one >= 0x1100 && is_letter_or_digit(one) &&
           (is_han_or_hiragana(one) || (text->pairs && is_katakana_or_hangul(one)));
}

static int is_apostrophe(Py_UCS4 one) {
    return one == '\'' || one == 0x2019;
}

static int starts(const Text *text, Py_UCS4 one) {
    return is_letter_or_digit(one) && !is_apart(text, one);
}

/* Whether character `i` is a part of the word whose last one so far is `last`. */
static int goes_on(const Text *text, Py_ssize_t i, Py_UCS4 last) {
    Py_UCS4 one = at(text, i), next = at(text, i + 1);
    if (is_apostrophe(one))
        return starts(text, next) && !Py_UNICODE_ISDECIMAL(next);
    if (one == '.' || one == ',')
        return is_digit(last) && is_digit(next);
    return starts(text, one) || is_mark(text, one) || is_layout(one);
}

static int append(const Text *text, const Py_UCS4 *characters, Py_ssize_t count) {
    PyObject *word = PyUnicode_FromKindAndData(PyUnicode_4BYTE_KIND, characters, count);
    int failed = !word || PyList_Append(text->words, word) < 0;
    Py_XDECREF(word);
    return !failed;
}

static Py_UCS4 spelled(Py_UCS4 one) {
    return one >= 'A' && one <= 'Z' ? one | 0x20 : one == 0x2019 ? '\'' : one;
}

/* Add the word that begins at `i`; where it ends, or -1. */
static Py_ssize_t add_word(const Text *text, Py_ssize_t i) {
    Py_UCS4 word[MOST_CHARACTERS], last = at(text, i);
    Py_ssize_t count = 0;
    do {
        if (!is_layout(last) && count < MOST_CHARACTERS)
            word[count++] = spelled(last);
        i++;
    } while (i < text->size && goes_on(text, i, last) && ((last = at(text, i)), 1));
    return append(text, word, count) ? i : -1;
}

/* Add the pairs of the characters that stand apart from `i` on, or the one there; where they end, or -1. */
static Py_ssize_t add_apart(const Text *text, Py_ssize_t i) {
    Py_UCS4 pair[2] = {at(text, i++), 0};
    Py_ssize_t count = 1;
    if (!text->pairs)
        return append(text, pair, 1) ? i : -1;
    for (; i < text->size && (is_apart(text, at(text, i)) || is_layout(at(text, i))); i++) {
        if (is_layout(at(text, i)))
            continue;
        pair[1] = at(text, i);
        if (!append(text, pair, 2))
            return -1;
        pair[0] = pair[1];
        count++;
    }
    return count > 1 || append(text, pair, 1) ? i : -1;
}

static int split(const Text *text) {
    for (Py_ssize_t i = 0; i >= 0 && i < text->size;) {
        Py_UCS4 one = at(text, i);
        if (is_apart(text, one))
            i = add_apart(text, i);
        else if (is_letter_or_digit(one))
            i = add_word(text, i);
        else
            i++;
        if (i < 0)
            return 0;
    }
    return 1;
}

PyObject *split_words(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *marks;
    PyObject *words = NULL;
    if (!counted("split_words", given, 3) || !(marks = hold(&held, args[1], (Wanted){"marks", 'B', 1, LOOSE})))
        return NULL;
    int pairs = PyObject_IsTrue(args[2]);
    if (!PyUnicode_Check(args[0]))
        PyErr_SetString(PyExc_TypeError, "a string is due");
    else if (pairs >= 0 && (words = PyList_New(0))) {
        Text text = {PyUnicode_KIND(args[0]), PyUnicode_DATA(args[0]), PyUnicode_GET_LENGTH(args[0]), marks->buf,
                     8 * marks->len, pairs, words};
        if (!split(&text))
            Py_CLEAR(words);
    }
    let_go(&held);
    return words;
}
