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
#include "scoring.h"

#define WINDOW 4096
#define GROUP 64
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
    Norms norms;
    Window *windows;
    size_t window_count, promising;
    double *bounds; /* of each term in each window */
    size_t *order;  /* terms by their bound in the present window, ascending */
    uint16_t *times; /* of each term in each row of the present window, when the order of summing matters */
    double sums[WINDOW];
    uint8_t touched[WINDOW / GROUP];
    uint16_t candidates[WINDOW];
    size_t first, end, number; /* the present window: its rows, and which it is */
} Search;

static double bound_of(const Search *search, size_t term, size_t block) {
    Entry entry = entry_at(search->question->lists + term, block);
    double norm = norm_of(&search->norms, entry.least_length);
    return ABOVE * part_of(search->question->weights[term], entry.most_times, norm);
}

static double *bound_in(const Search *search, size_t term) {
    return search->bounds + term * search->window_count + search->number;
}

static void raise_to(double *bound, double value) {
    *bound = value > *bound ? value : *bound;
}

static double part_at(const Search *search, size_t term, size_t row, uint32_t times) {
    double norm = norm_of(&search->norms, length_of(search->question->lengths, row));
    return part_of(search->question->weights[term], times, norm);
}

static void fill_bounds(Search *search, size_t term) {
    const List *list = search->question->lists + term;
    double *bounds = search->bounds + term * search->window_count;
    if (list->directory) {
        for (size_t block = 0; block < list->blocks; block++) {
            double bound = bound_of(search, term, block);
            for (size_t i = floor_of(list, block) / WINDOW; i <= last_of(list, block) / WINDOW; i++)
                raise_to(bounds + i, bound);
        }
        return;
    }
    for (size_t i = 0; i < list->count; i++)
        raise_to(bounds + list->row[i] / WINDOW, ABOVE * part_at(search, term, list->row[i], list->times[i]));
}

static int by_promise(const void *left, const void *right) {
    const Window *one = left, *other = right;
    if (one->total != other->total)
        return one->total > other->total ? -1 : 1;
    return one->number < other->number ? -1 : one->number > other->number;
}

static void find_windows(Search *search) {
    for (size_t term = 0; term < search->question->terms; term++)
        fill_bounds(search, term);
    for (size_t i = 0; i < search->window_count; i++) {
        Window window = {0, i};
        for (size_t term = 0; term < search->question->terms; term++)
            window.total += search->bounds[term * search->window_count + i];
        if (window.total > 0)
            search->windows[search->promising++] = window;
    }
    qsort(search->windows, search->promising, sizeof *search->windows, by_promise);
}

/* Whether a sum of bounds is too small for a hit. */
static int hopeless(const Search *search, double bound) {
    return bound < search->collector->threshold * BELOW;
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
        for (; place && *bound_in(search, search->order[place - 1]) > *bound_in(search, term); place--)
            search->order[place] = search->order[place - 1];
        search->order[place] = term;
    }
}

static void add_block(Search *search, size_t term, const List *list) {
    uint16_t *times = search->times ? search->times + term * WINDOW : NULL;
    for (size_t i = list_place_of(list, search->first); i < list->count && list->row[i] < search->end; i++) {
        size_t row = list->row[i], place = row - search->first;
        if (search->mask && !search->mask[row])
            continue;
        search->sums[place] += part_at(search, term, row, list->times[i]);
        search->touched[place / GROUP] = 1;
        if (times)
            times[place] = (uint16_t)list->times[i];
    }
}

/* Add a term's parts to the sums of its rows; `rest` bounds those of all other terms. */
static int add_list(Search *search, size_t term, double rest) {
    List *list = search->question->lists + term;
    size_t block = list_block_of(list, 0, search->first);
    for (; block < list->blocks && floor_of(list, block) < search->end; block++) {
        if (list->directory && hopeless(search, bound_of(search, term, block) + rest))
            continue;
        if (!list_decode(list, block))
            return 0;
        add_block(search, term, list);
    }
    return 1;
}

/* Note the rows whose sums can become good enough with the parts of terms that are not added yet. */
static size_t gather(Search *search, double rest) {
    double need = search->collector->threshold * BELOW - rest;
    size_t count = 0;
    need = need > 0 ? need : DBL_TRUE_MIN;
    for (size_t group = 0; group < WINDOW / GROUP; group++) {
        const double *sums = search->sums + group * GROUP;
        int any = 0;
        if (!search->touched[group])
            continue;
        for (size_t i = 0; i < GROUP; i++)
            any |= sums[i] >= need;
        for (size_t i = 0; any && i < GROUP; i++)
            if (sums[i] >= need)
                search->candidates[count++] = (uint16_t)(group * GROUP + i);
    }
    return count;
}

/* Add the term's part to the sum of a candidate; 0 when that becomes hopeless, -1 for inconsistent bytes. */
static int complete(Search *search, size_t term, size_t place, size_t *block, double rest) {
    List *list = search->question->lists + term;
    size_t row = search->first + place;
    double *sum = search->sums + place;
    if (hopeless(search, *sum + *bound_in(search, term) + rest))
        return 0;
    *block = list_block_of(list, *block, row);
    if (*block < list->blocks && list->directory && hopeless(search, *sum + bound_of(search, term, *block) + rest))
        return 0;
    int64_t times = list_times(list, block, row);
    if (times > 0) {
        *sum += part_at(search, term, row, (uint32_t)times);
        if (search->times)
            search->times[term * WINDOW + place] = (uint16_t)times;
    }
    return times < 0 ? -1 : !hopeless(search, *sum + rest);
}

/* Add the parts of the terms order[0..few) to the candidates; how many remain, or -1 for inconsistent bytes. */
static int64_t complete_all(Search *search, size_t few, double rest, size_t count) {
    while (few--) {
        size_t term = search->order[few], kept = 0, block = 0;
        rest -= *bound_in(search, term);
        for (size_t i = 0; i < count; i++) {
            int good = complete(search, term, search->candidates[i], &block, ABOVE * rest);
            if (good < 0)
                return -1;
            if (good)
                search->candidates[kept++] = search->candidates[i];
        }
        count = kept;
    }
    return (int64_t)count;
}

static double sum_in_order(const Search *search, size_t place) {
    double sum = 0;
    if (!search->times)
        return search->sums[place];
    for (size_t term = 0; term < search->question->terms; term++) {
        uint32_t times = search->times[term * WINDOW + place];
        if (times)
            sum += part_at(search, term, search->first + place, times);
    }
    return sum;
}

static int offer(Search *search, size_t count) {
    for (size_t i = 0; i < count; i++) {
        size_t place = search->candidates[i];
        if (!collector_offer(search->collector, sum_in_order(search, place), (int64_t)(search->first + place)))
            return 0;
    }
    return 1;
}

static void clear(Search *search) {
    for (size_t group = 0; group < WINDOW / GROUP; group++) {
        if (!search->touched[group])
            continue;
        memset(search->sums + group * GROUP, 0, GROUP * sizeof *search->sums);
        for (size_t term = 0; search->times && term < search->question->terms; term++)
            if (*bound_in(search, term) > 0)
                memset(search->times + term * WINDOW + group * GROUP, 0, GROUP * sizeof *search->times);
    }
    memset(search->touched, 0, sizeof search->touched);
}

static Outcome search_window(Search *search, double total) {
    size_t terms = search->question->terms, few = 0;
    double rest = 0;
    order_terms(search);
    for (; few < terms && hopeless(search, rest + *bound_in(search, search->order[few])); few++)
        rest += *bound_in(search, search->order[few]);
    for (size_t i = few; i < terms; i++) {
        size_t term = search->order[i];
        if (!add_list(search, term, ABOVE * (total - *bound_in(search, term))))
            return DAMAGED;
    }
    int64_t count = complete_all(search, few, rest, gather(search, ABOVE * rest));
    if (count < 0)
        return DAMAGED;
    if (!offer(search, (size_t)count))
        return NO_MEMORY;
    clear(search);
    return FINE;
}

static int begin(Search *search) {
    size_t terms = search->question->terms;
    search->window_count = (search->question->rows + WINDOW - 1) / WINDOW;
    search->windows = malloc((search->window_count + 1) * sizeof *search->windows);
    search->bounds = calloc(terms * search->window_count + 1, sizeof *search->bounds);
    search->order = malloc((terms + 1) * sizeof *search->order);
    if (terms > ANY_ORDER)
        search->times = calloc(terms * WINDOW, sizeof *search->times);
    if (!search->windows || !search->bounds || !search->order || (terms > ANY_ORDER && !search->times))
        return 0;
    for (size_t term = 0; term < terms; term++)
        search->order[term] = term;
    norms_fill(&search->norms, search->question->average_length);
    return 1;
}

static void end(Search *search) {
    free(search->windows);
    free(search->bounds);
    free(search->order);
    free(search->times);
    free(search);
}

static Outcome run(Search *search) {
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
    if (outcome == FINE)
        collector_end(search->collector);
    return outcome;
}

Outcome search_rows(const Question *question, const uint8_t *mask, size_t limit, Collector *found) {
    Search *search = calloc(1, sizeof *search);
    Outcome outcome = NO_MEMORY;
    int begun = collector_begin(found, limit < question->rows ? limit : question->rows + 1);
    if (!search)
        return NO_MEMORY;
    search->question = question;
    search->mask = mask;
    search->collector = found;
    if (begin(search) && begun)
        outcome = run(search);
    end(search);
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
                scores[i] += part_of(question->weights[term], (double)times,
                                     norm_of(&norms, length_of(question->lengths, (size_t)rows[i])));
        }
    }
    return FINE;
}
