/* BM25 over the posting lists of one field: the best rows, exactly, without looking at most of the rest.

   Rows are taken in windows. Each term has an upper bound of its part of a score in each window, from the entries of
   its blocks; windows are searched in descending order of the sums of these, until no other can hold a row that is
   good enough. Within a window only the lists of those terms are decoded whole that a good row must have one of
   (MaxScore); of them, blocks whose own bound tells that no row in them can be good enough are skipped. The other
   terms are looked up for the candidates that remain. Bounds are rounded up generously, so that rounding loses no row;
   what is offered as a hit has been summed in the order of the query. */
#include "search.h"

#include <float.h>
#include <stdlib.h>

#include "collector.h"
#include "few.h"
#include "scoring.h"

#define WINDOW 4096
#define WORD 64
#define ABOVE (1 + 1e-9)
#define BELOW (1 - 1e-9)
#define ANY_ORDER 2 /* a sum of so many parts is the same in any order */

typedef struct {
    double total;
    size_t number;
} Window;

typedef struct {
    const Question *question;
    const uint8_t *mask;
    Collector *collector;
    const Norms *norms;
    Window *windows;
    size_t window_count, promising;
    double *bounds; /* of each term in each window */
    size_t *order;  /* terms by their bound in the present window, ascending */
    size_t *blocks; /* of each term: before which block of the present window nothing is wanted any more */
    size_t first, end, number; /* the present window: its rows, and which it is */
    size_t count;              /* of the candidates: their places in the window, and their sums so far */
    uint16_t places[WINDOW];
    double found[WINDOW];
    double sums[WINDOW]; /* of the rows whose bits are set; of the others, 0 */
    uint64_t touched[WINDOW / WORD];
} Search;

static double bound_of(const Search *search, size_t term, size_t block) {
    Entry entry = entry_at(search->question->lists + term, block);
    double once = 1 / (1 + norm_of(search->norms, entry.least_length)), more = 0;
    if (entry.most_times > 1)
        more = entry.most_times / (entry.most_times + norm_of(search->norms, entry.least_of_more));
    return ABOVE * search->question->weights[term] * (once > more ? once : more);
}

static double bound_in(const Search *search, size_t term) {
    return search->bounds[term * search->window_count + search->number];
}

static void raise_to(double *bound, double value) {
    *bound = value > *bound ? value : *bound;
}

static void fill_bounds(Search *search, size_t term) {
    const List *list = search->question->lists + term;
    double *bounds = search->bounds + term * search->window_count;
    for (size_t block = 0; list->directory && block < list->blocks; block++) {
        double bound = bound_of(search, term, block);
        for (size_t i = floor_of(list, block) / WINDOW; i <= last_of(list, block) / WINDOW; i++)
            raise_to(bounds + i, bound);
    }
    for (size_t i = 0; !list->directory && i < list->count; i++) {
        double part = part_at(search->question, search->norms, term, list->row[i], list->times[i]);
        raise_to(bounds + list->row[i] / WINDOW, ABOVE * part);
    }
}

static int by_promise(const void *left, const void *right) {
    const Window *one = left, *other = right;
    if (one->total != other->total)
        return one->total > other->total ? -1 : 1;
    return one->number < other->number ? -1 : one->number > other->number;
}

static void find_windows(Search *search) {
    for (size_t i = 0; i < search->window_count; i++)
        search->windows[i] = (Window){0, i};
    for (size_t term = 0; term < search->question->terms; term++) {
        fill_bounds(search, term);
        for (size_t i = 0; i < search->window_count; i++)
            search->windows[i].total += search->bounds[term * search->window_count + i];
    }
    for (size_t i = 0; i < search->window_count; i++)
        if (search->windows[i].total > 0)
            search->windows[search->promising++] = search->windows[i];
    qsort(search->windows, search->promising, sizeof *search->windows, by_promise);
}

/* Whether a sum of bounds is too small for a hit. */
static int hopeless(const Search *search, double bound) {
    return bound < search->collector->threshold * BELOW;
}

/* What a sum has to be at least, if its other parts are `rest` at most. */
static double needed(const Search *search, double rest) {
    double need = search->collector->threshold * BELOW - rest;
    return need > 0 ? need : DBL_TRUE_MIN;
}

static int any_allowed(const Search *search) {
    uint8_t any = !search->mask;
    for (size_t row = search->first; search->mask && row < search->end; row++)
        any |= search->mask[row];
    return any;
}

/* Sort the terms by their bound in the window; from one window to the next not much changes. */
static void order_terms(Search *search) {
    for (size_t i = 1; i < search->question->terms; i++) {
        size_t term = search->order[i], place = i;
        for (; place && bound_in(search, search->order[place - 1]) > bound_in(search, term); place--)
            search->order[place] = search->order[place - 1];
        search->order[place] = term;
    }
}

/* Add the parts of a decoded block to the sums of its rows. */
static void add_block(Search *search, size_t term, const List *list) {
    for (size_t i = list_place_of(list, search->first); i < list->count && list->row[i] < search->end; i++) {
        size_t row = list->row[i], place = row - search->first;
        if (search->mask && !search->mask[row])
            continue;
        search->sums[place] += part_at(search->question, search->norms, term, row, list->times[i]);
        search->touched[place / WORD] |= (uint64_t)1 << place % WORD;
    }
}

/* The rows of a decoded block become candidates, if their parts are as large as needed. */
static void take_block(Search *search, size_t term, const List *list, double need) {
    for (size_t i = list_place_of(list, search->first); i < list->count && list->row[i] < search->end; i++) {
        size_t row = list->row[i];
        double part = part_at(search->question, search->norms, term, row, list->times[i]);
        if (part < need || (search->mask && !search->mask[row]))
            continue;
        search->places[search->count] = (uint16_t)(row - search->first);
        search->found[search->count++] = part;
    }
}

/* Read a term's list, as far as it may matter: the parts of other terms are at most `others`. Of the only list that is
   read, rows become candidates when those of terms to be looked up are at most `rest`; else sums are made. */
static int read_list(Search *search, size_t term, double others, int only, double rest) {
    List *list = search->question->lists + term;
    double need = needed(search, rest);
    for (size_t block = list_block_of(list, 0, search->first);
         block < list->blocks && floor_of(list, block) < search->end; block++) {
        if (list->directory && hopeless(search, bound_of(search, term, block) + others))
            continue;
        if (!list_decode(list, block))
            return 0;
        if (only)
            take_block(search, term, list, need);
        else
            add_block(search, term, list);
    }
    return 1;
}

/* Make candidates of the rows whose sums can become good enough with at most `rest`, and forget the sums. */
static void gather(Search *search, double rest) {
    double need = needed(search, rest);
    for (size_t word = 0; word < WINDOW / WORD; word++) {
        for (uint64_t bits = search->touched[word]; bits; bits &= bits - 1) {
            size_t place = word * WORD + (size_t)__builtin_ctzll(bits);
            search->places[search->count] = (uint16_t)place;
            search->found[search->count] = search->sums[place];
            search->count += search->sums[place] >= need;
            search->sums[place] = 0;
        }
        search->touched[word] = 0;
    }
}

/* Add the term's part to the sum of candidate `i`; 0 when that becomes hopeless, -1 for inconsistent bytes. */
static int complete(Search *search, size_t term, size_t i, size_t *block, double rest) {
    List *list = search->question->lists + term;
    size_t row = search->first + search->places[i];
    double sum = search->found[i];
    if (hopeless(search, sum + bound_in(search, term) + rest))
        return 0;
    *block = list_block_of(list, *block, row);
    if (*block < list->blocks && list->directory && hopeless(search, sum + bound_of(search, term, *block) + rest))
        return 0;
    int64_t times = list_times(list, block, row);
    if (times > 0)
        search->found[i] = sum += part_at(search->question, search->norms, term, row, (uint32_t)times);
    return times < 0 ? -1 : !hopeless(search, sum + rest);
}

/* Add the parts of the terms order[0..few), at most `rest` together, to the candidates, and drop those that cannot be
   hits; false when the bytes are inconsistent. */
static int complete_all(Search *search, size_t few, double rest) {
    while (few--) {
        size_t term = search->order[few], kept = 0, block = 0;
        rest -= bound_in(search, term);
        for (size_t i = 0; i < search->count; i++) {
            int good = complete(search, term, i, &block, ABOVE * rest);
            if (good < 0)
                return 0;
            search->places[kept] = search->places[i];
            search->found[kept] = search->found[i];
            kept += (size_t)good;
        }
        search->count = kept;
    }
    return 1;
}

/* The score of candidate `i`, summed in the order of the query; negative for inconsistent bytes. */
static double score_of(Search *search, size_t i) {
    double sum = 0;
    size_t row = search->first + search->places[i];
    if (search->question->terms <= ANY_ORDER)
        return search->found[i];
    for (size_t term = 0; term < search->question->terms; term++) {
        if (bound_in(search, term) <= 0)
            continue;
        int64_t times = list_times(search->question->lists + term, search->blocks + term, row);
        if (times < 0)
            return -1;
        if (times)
            sum += part_at(search->question, search->norms, term, row, (uint32_t)times);
    }
    return sum;
}

static Outcome offer(Search *search) {
    memset(search->blocks, 0, search->question->terms * sizeof *search->blocks);
    for (size_t i = 0; i < search->count; i++) {
        if (hopeless(search, search->found[i]))
            continue;
        double score = score_of(search, i);
        if (score < 0)
            return DAMAGED;
        if (!collector_offer(search->collector, score, (int64_t)(search->first + search->places[i])))
            return NO_MEMORY;
    }
    return FINE;
}

static Outcome search_window(Search *search, double total) {
    size_t terms = search->question->terms, few = 0;
    double rest = 0;
    order_terms(search);
    for (; few < terms && hopeless(search, ABOVE * (rest + bound_in(search, search->order[few]))); few++)
        rest += bound_in(search, search->order[few]);
    search->count = 0;
    for (size_t i = few; i < terms; i++) {
        size_t term = search->order[i];
        double others = ABOVE * (total - bound_in(search, term));
        if (!read_list(search, term, others, few + 1 == terms, ABOVE * rest))
            return DAMAGED;
    }
    if (few + 1 < terms)
        gather(search, ABOVE * rest);
    return complete_all(search, few, rest) ? offer(search) : DAMAGED;
}

static Outcome search_windows(Search *search) {
    Outcome outcome = FINE;
    find_windows(search);
    for (size_t i = 0; i < search->promising && outcome == FINE; i++) {
        Window window = search->windows[i];
        if (hopeless(search, ABOVE * window.total))
            break;
        search->number = window.number;
        search->first = window.number * WINDOW;
        search->end = search->first + WINDOW < search->question->rows ? search->first + WINDOW : search->question->rows;
        if (any_allowed(search))
            outcome = search_window(search, window.total);
    }
    return outcome;
}

static Outcome search_many(const Question *question, const Norms *norms, const uint8_t *mask, Collector *found) {
    size_t terms = question->terms, windows = (question->rows + WINDOW - 1) / WINDOW;
    Outcome outcome = NO_MEMORY;
    Search *search = calloc(1, sizeof *search);
    if (!search)
        return NO_MEMORY;
    search->question = question;
    search->mask = mask;
    search->collector = found;
    search->norms = norms;
    search->window_count = windows;
    search->windows = malloc((windows + 1) * sizeof *search->windows);
    search->bounds = calloc(terms * windows + 1, sizeof *search->bounds);
    search->order = malloc((terms + 1) * sizeof *search->order);
    search->blocks = malloc((terms + 1) * sizeof *search->blocks);
    if (search->windows && search->bounds && search->order && search->blocks) {
        for (size_t term = 0; term < terms; term++)
            search->order[term] = term;
        outcome = search_windows(search);
    }
    free(search->windows);
    free(search->bounds);
    free(search->order);
    free(search->blocks);
    free(search);
    return outcome;
}

Outcome search_rows(const Question *question, const uint8_t *mask, size_t limit, Collector *found) {
    Norms norms;
    norms_fill(&norms, question->average_length);
    if (!collector_begin(found, limit < question->rows ? limit : question->rows + 1))
        return NO_MEMORY;
    Outcome outcome = (are_few(question) ? search_few : search_many)(question, &norms, mask, found);
    if (outcome == FINE)
        collector_end(found);
    return outcome;
}

Outcome score_rows(const Question *question, const int64_t *rows, size_t count, double *scores) {
    Norms norms;
    norms_fill(&norms, question->average_length);
    memset(scores, 0, count * sizeof *scores);
    for (size_t term = 0; term < question->terms; term++) {
        List *list = question->lists + term;
        size_t block = 0;
        for (size_t i = 0; i < count && block < list->blocks; i++) {
            int64_t times = list_times(list, &block, (size_t)rows[i]);
            if (times < 0)
                return DAMAGED;
            if (times)
                scores[i] += part_at(question, &norms, term, (size_t)rows[i], (uint32_t)times);
        }
    }
    return FINE;
}
