/* at_hand, covered, all_marked, run_places, pick_parts, take_notes, begin_work, end_work, work_begun, touched_of, touch,
 * touch_parts, texts_at and strings_at as Python calls them: where bytes are, whether they are here and were verified,
 * and bytes that are and were. */
#include <stdint.h>
#include <string.h>

#include "faces.h"

#define LENGTH_SIZE 4 /* bytes of the length before a text */
#define AT_ONCE 16    /* pieces that memory is asked for before the first of them is read */

typedef struct {
    const uint8_t *bytes;
    uint64_t count, block;
} Marks;

/* The block size, into `marks`; false with an error set. */
static int read_block(Marks *marks, const Py_buffer *view, PyObject *size) {
    long long block = PyLong_AsLongLong(size);
    if (block == -1 && PyErr_Occurred())
        return 0;
    if (block < 1) {
        refuse("marks: a block has no size");
        return 0;
    }
    *marks = (Marks){view->buf, (uint64_t)view->len, (uint64_t)block};
    return 1;
}

/* Whether all blocks with bytes of [start, start + length) are marked; the length is at least one. */
static int is_marked(const Marks *marks, uint64_t start, uint64_t length) {
    uint64_t last = (start + (length - 1)) / marks->block;
    if (last >= marks->count)
        return 0;
    for (uint64_t block = start / marks->block; block <= last; block++)
        if (!marks->bytes[block])
            return 0;
    return 1;
}

static uint64_t offset_at(const Py_buffer *offsets, Py_ssize_t number) {
    uint64_t offset;
    memcpy(&offset, (const char *)offsets->buf + 8 * number, sizeof offset);
    return offset;
}

/* What one piece of work touches of an object. */
typedef struct Lane {
    struct Lane *next;      /* that no work has */
    int64_t epoch, horizon; /* of the leases when it began */
    int64_t met[2];         /* how many blocks were touched, and how many of them are kept */
    uint32_t number;        /* of the work, among those that had the lane */
    uint32_t seen[];        /* of each block, the number of the work that touched it last */
} Lane;

/* The blocks of an object, and what the work under way touches of them. */
typedef struct {
    const uint8_t *here, *kept;
    uint8_t *hot;
    int64_t *used;
    int64_t count, block;
    int shift; /* of the block size, when that is a power of two; else -1 */
    Lane *lane;
} Blocks;

/* The blocks, the arrays that they are in, and which work the lane belongs to. */
typedef struct {
    Blocks blocks;
    Held held;
    const int64_t *clock; /* epoch and horizon, now */
    Lane *spare;
    uint64_t work;
} Notes;

/* Work of a thread, and the lanes it has. */
typedef struct Work {
    struct Work *outer;
    PyObject *of;
    uint64_t id;
    size_t count, room;
    struct {
        PyObject *notes;
        Lane *lane;
    } *lanes;
} Work;

static const char NOTES[] = "quiver.notes";
static _Thread_local Work *current = NULL;

/* The block that holds a byte. */
static int64_t block_at(const Blocks *blocks, int64_t place) {
    return blocks->shift < 0 ? place / blocks->block : place >> blocks->shift;
}

/* Note that a block is used, for the first time in this work. */
static void note(const Blocks *blocks, int64_t block) {
    Lane *lane = blocks->lane;
    int64_t used = blocks->used[block];
    blocks->hot[block] |= used < lane->horizon;
    blocks->used[block] = used > lane->epoch ? used : lane->epoch;
    lane->seen[block] = lane->number;
    lane->met[0]++;
    lane->met[1] += blocks->kept[block];
}

/* Note that a range is used; whether its blocks are all here. Empty ranges are. */
static int touch_range(const Blocks *blocks, int64_t start, int64_t end) {
    if (start >= end)
        return 1;
    if (start < 0 || end > blocks->count * blocks->block)
        return 0;
    int here = 1;
    int64_t last = block_at(blocks, end - 1);
    for (int64_t block = block_at(blocks, start); block <= last; block++) {
        if (blocks->lane->seen[block] != blocks->lane->number)
            note(blocks, block);
        here &= blocks->here[block];
    }
    return here;
}

/* Whether the blocks of a range are all here at this moment. */
static int is_here(const Blocks *blocks, int64_t start, int64_t end) {
    if (start < 0 || end > blocks->count * blocks->block)
        return 0;
    int here = 1;
    for (int64_t block = block_at(blocks, start); block * blocks->block < end; block++)
        here &= blocks->here[block];
    return here;
}

static void forget_notes(PyObject *capsule) {
    Notes *notes = PyCapsule_GetPointer(capsule, NOTES);
    for (Lane *lane = notes->spare, *next; lane; lane = next) {
        next = lane->next;
        PyMem_Free(lane);
    }
    let_go(&notes->held);
    PyMem_Free(notes);
}

/* How far places are shifted for their block's number; -1 when blocks are of another size than a power of two. */
static int shift_of(int64_t block) {
    int shift = 0;
    while (block >> shift > 1)
        shift++;
    return (int64_t)1 << shift == block ? shift : -1;
}

/* The arrays and numbers of `take_notes`; false with an error set. */
static int read_notes(Notes *notes, PyObject *const *args) {
    Held *held = &notes->held;
    Blocks *blocks = &notes->blocks;
    const Py_buffer *here, *kept, *used, *hot, *clock;
    if (!(here = hold(held, args[0], (Wanted){"here", '?', 1, LOOSE})) ||
        !(kept = hold(held, args[1], (Wanted){"kept", '?', 1, LOOSE})) ||
        !(used = hold(held, args[2], (Wanted){"used", 'q', 1, WRITABLE})) ||
        !(hot = hold(held, args[3], (Wanted){"hot", '?', 1, WRITABLE})) ||
        !(clock = hold(held, args[4], (Wanted){"clock", 'q', 1, ALIGNED})))
        return 0;
    *blocks = (Blocks){.here = here->buf, .kept = kept->buf, .hot = hot->buf, .used = used->buf, .count = here->len};
    blocks->block = PyLong_AsLongLong(args[5]);
    if (PyErr_Occurred())
        return 0;
    notes->clock = clock->buf;
    if (blocks->block < 1 || used->shape[0] != here->len || hot->len != here->len || kept->len != here->len ||
        here->len > INT64_MAX / blocks->block || clock->shape[0] != 2)
        refuse("notes: arrays of one length, two numbers and blocks of some size are due");
    else
        blocks->shift = shift_of(blocks->block);
    return !PyErr_Occurred();
}

PyObject *take_notes(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    if (!counted("take_notes", given, 6))
        return NULL;
    Notes *notes = PyMem_Calloc(1, sizeof *notes);
    if (!notes)
        return PyErr_NoMemory();
    PyObject *capsule = read_notes(notes, args) ? PyCapsule_New(notes, NOTES, forget_notes) : NULL;
    if (!capsule) {
        let_go(&notes->held);
        PyMem_Free(notes);
    }
    return capsule;
}

/* A lane for work that begins now; NULL with an error set. */
static Lane *begin_lane(Notes *notes) {
    size_t count = (size_t)notes->blocks.count;
    Lane *lane = notes->spare;
    if (lane)
        notes->spare = lane->next;
    else if (!(lane = PyMem_Calloc(1, sizeof *lane + count * sizeof *lane->seen))) {
        PyErr_NoMemory();
        return NULL;
    }
    if (!++lane->number) { /* once in 2^32 times they begin anew */
        memset(lane->seen, 0, count * sizeof *lane->seen);
        lane->number = 1;
    }
    lane->met[0] = lane->met[1] = 0;
    lane->epoch = notes->clock[0];
    lane->horizon = notes->clock[1];
    return lane;
}

static void end_lane(Notes *notes, Lane *lane) {
    lane->next = notes->spare;
    notes->spare = lane;
}

/* Where the work has the lane of some notes; its `count` when it has none. */
static size_t lane_of(const Work *work, const PyObject *notes) {
    size_t place = 0;
    while (place < work->count && work->lanes[place].notes != notes)
        place++;
    return place;
}

/* Have the work of this thread have a lane of some notes; false with an error set. */
static int enter(Work *work, PyObject *capsule, Notes *notes) {
    size_t place = lane_of(work, capsule);
    if (place == work->room) {
        size_t room = work->room ? 2 * work->room : 4;
        void *lanes = PyMem_Realloc(work->lanes, room * sizeof *work->lanes);
        if (!lanes)
            return PyErr_NoMemory() != NULL;
        work->lanes = lanes;
        work->room = room;
    }
    if (place == work->count) {
        if (!(work->lanes[place].lane = begin_lane(notes)))
            return 0;
        work->lanes[place].notes = Py_NewRef(capsule);
        work->count++;
    }
    notes->blocks.lane = work->lanes[place].lane;
    notes->work = work->id;
    return 1;
}

/* The blocks of an argument, as the work of this thread sees them, until another thread runs; NULL for None; false
with an error set. */
static int find_notes(const Blocks **blocks, PyObject *argument) {
    *blocks = NULL;
    if (argument == Py_None)
        return 1;
    if (!PyCapsule_IsValid(argument, NOTES)) {
        PyErr_SetString(PyExc_TypeError, "notes are due, as take_notes makes them");
        return 0;
    }
    Notes *notes = PyCapsule_GetPointer(argument, NOTES);
    if (!current) { /* of no work: nobody needs the lane afterwards */
        if (!(notes->blocks.lane = begin_lane(notes)))
            return 0;
        end_lane(notes, notes->blocks.lane);
        notes->work = 0;
    } else if (notes->work != current->id && !enter(current, argument, notes))
        return 0;
    *blocks = &notes->blocks;
    return 1;
}

/* The blocks of an argument; NULL with an error set. */
static const Blocks *notes_of(PyObject *argument) {
    const Blocks *blocks;
    if (find_notes(&blocks, argument) && !blocks)
        PyErr_SetString(PyExc_TypeError, "notes are due, as take_notes makes them");
    return blocks;
}

PyObject *begin_work(PyObject *Py_UNUSED(module), PyObject *of) {
    static uint64_t last = 0; /* guarded by the GIL */
    Work *work = PyMem_Calloc(1, sizeof *work);
    if (!work)
        return PyErr_NoMemory();
    work->outer = current;
    work->of = Py_NewRef(of);
    work->id = ++last;
    current = work;
    Py_RETURN_NONE;
}

PyObject *end_work(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(nothing)) {
    Work *work = current;
    int64_t met[2] = {0, 0};
    if (!work)
        return refuse("work: none has begun");
    current = work->outer;
    for (size_t place = 0; place < work->count; place++) {
        Lane *lane = work->lanes[place].lane;
        Notes *notes = PyCapsule_GetPointer(work->lanes[place].notes, NOTES);
        met[0] += lane->met[0];
        met[1] += lane->met[1];
        end_lane(notes, lane);
        if (notes->work == work->id)
            notes->work = 0;
        Py_DECREF(work->lanes[place].notes);
    }
    Py_DECREF(work->of);
    PyMem_Free(work->lanes);
    PyMem_Free(work);
    return Py_BuildValue("LL", (long long)met[0], (long long)met[1]);
}

PyObject *work_begun(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(nothing)) {
    return Py_NewRef(current ? current->of : Py_None);
}

PyObject *touched_of(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *marks;
    const Blocks *blocks;
    long long met = 0, kept = 0;
    if (counted("touched_of", given, 2) && (blocks = notes_of(args[0])) &&
        (marks = hold(&held, args[1], (Wanted){"marks", '?', 1, LOOSE}))) {
        if (marks->len != blocks->count)
            refuse("notes: a mark for each block is due");
        else
            for (int64_t block = 0; block < blocks->count; block++)
                if (((const uint8_t *)marks->buf)[block] && blocks->lane->seen[block] == blocks->lane->number) {
                    met++;
                    kept += blocks->kept[block];
                }
    }
    let_go(&held);
    return PyErr_Occurred() ? NULL : Py_BuildValue("LL", met, kept);
}

static int touch_one(const Blocks *blocks, PyObject *const *places) {
    int64_t start = PyLong_AsLongLong(places[0]), end = PyLong_AsLongLong(places[1]);
    return PyErr_Occurred() ? 0 : touch_range(blocks, start, end);
}

PyObject *touch(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *starts, *ends;
    const Blocks *blocks;
    int here = 1;
    if (!counted("touch", given, 3) || !(blocks = notes_of(args[0])))
        return NULL;
    if (PyLong_Check(args[1])) {
        here = touch_one(blocks, args + 1);
    } else if ((starts = hold(&held, args[1], (Wanted){"starts", 'q', 1, ALIGNED})) &&
               (ends = hold(&held, args[2], (Wanted){"ends", 'q', 1, ALIGNED}))) {
        if (starts->shape[0] != ends->shape[0])
            refuse("touch: as many ends as starts are due");
        else
            for (Py_ssize_t i = 0; i < starts->shape[0]; i++)
                here &= touch_range(blocks, ((const int64_t *)starts->buf)[i], ((const int64_t *)ends->buf)[i]);
    }
    let_go(&held);
    return PyErr_Occurred() ? NULL : PyBool_FromLong(here);
}

PyObject *touch_parts(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *bounds, *numbers;
    const Blocks *blocks;
    int here = 1;
    if (counted("touch_parts", given, 3) && (blocks = notes_of(args[0])) &&
        (bounds = hold(&held, args[1], (Wanted){"bounds", 'q', 1, ALIGNED})) &&
        (numbers = hold(&held, args[2], (Wanted){"numbers", 'q', 1, LOOSE})))
        for (Py_ssize_t i = 0; i < numbers->shape[0] && !PyErr_Occurred(); i++) {
            uint64_t number = offset_at(numbers, i);
            const int64_t *places = bounds->buf;
            if (number >= (uint64_t)bounds->shape[0] || number + 1 >= (uint64_t)bounds->shape[0])
                refuse("touch: a part past the last");
            else
                here &= touch_range(blocks, places[number], places[number + 1]);
        }
    let_go(&held);
    return PyErr_Occurred() ? NULL : PyBool_FromLong(here);
}

typedef int Look(const Blocks *blocks, int64_t start, int64_t end);

/* Whether a range at each of some offsets is marked, and lies in blocks that are here; all are looked at. */
static int all_ready(const Blocks *blocks, Look *look, const Marks *marks, const Py_buffer *offsets, int64_t width) {
    int good = width > 0;
    for (Py_ssize_t i = 0; width > 0 && i < offsets->shape[0]; i++) {
        uint64_t offset = offset_at(offsets, i);
        good &= offset <= (uint64_t)(INT64_MAX - width) &&
                (!blocks || look(blocks, (int64_t)offset, (int64_t)offset + width)) &&
                is_marked(marks, offset, (uint64_t)width);
    }
    return good;
}

/* `gently`: nothing is touched unless everything can be. */
static PyObject *run_covered(PyObject *const *args, int gently) {
    Held held = {.count = 0};
    const Py_buffer *view, *offsets;
    const Blocks *blocks;
    Marks marks;
    int good = 0;
    if ((view = hold(&held, args[0], (Wanted){"marks", 'B', 1, LOOSE})) && read_block(&marks, view, args[1]) &&
        (offsets = hold(&held, args[2], (Wanted){"offsets", 'q', 1, LOOSE})) && find_notes(&blocks, args[4])) {
        long long width = PyLong_AsLongLong(args[3]);
        good = (!gently || all_ready(blocks, is_here, &marks, offsets, width)) &&
               all_ready(blocks, touch_range, &marks, offsets, width);
    }
    let_go(&held);
    return PyErr_Occurred() ? NULL : PyBool_FromLong(good);
}

PyObject *covered(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    return counted("covered", given, 5) ? run_covered(args, 0) : NULL;
}

PyObject *at_hand(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    return counted("at_hand", given, 5) ? run_covered(args, 1) : NULL;
}

/* Whether a range between bounds, given by its number, is here; it is touched. */
static int touch_part(const Blocks *blocks, const Py_buffer *bounds, uint64_t number) {
    const int64_t *places = bounds->buf;
    return touch_range(blocks, places[number], places[number + 1]);
}

PyObject *all_marked(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *marks, *sizes, *numbers, *bounds = NULL;
    const Blocks *blocks = NULL;
    int64_t total = 0;
    int good = 1;
    if ((given == 3 || counted("all_marked", given, 5)) &&
        (marks = hold(&held, args[0], (Wanted){"marks", '?', 1, LOOSE})) &&
        (sizes = hold(&held, args[1], (Wanted){"sizes", 'q', 1, ALIGNED})) &&
        (numbers = hold(&held, args[2], (Wanted){"numbers", 'q', 1, LOOSE})) &&
        (given == 3 || args[4] == Py_None ||
         ((bounds = hold(&held, args[3], (Wanted){"bounds", 'q', 1, ALIGNED})) && find_notes(&blocks, args[4])))) {
        if (sizes->shape[0] != marks->len || (bounds && bounds->shape[0] <= marks->len))
            refuse("marks: the arrays do not fit each other");
        for (Py_ssize_t i = 0; !PyErr_Occurred() && i < numbers->shape[0]; i++) {
            uint64_t number = offset_at(numbers, i);
            if (number >= (uint64_t)marks->len) {
                refuse("marks: a number past the last");
            } else {
                good &= (!blocks || touch_part(blocks, bounds, number)) && ((const uint8_t *)marks->buf)[number];
                total += good ? ((const int64_t *)sizes->buf)[number] : 0;
            }
        }
    }
    let_go(&held);
    return PyErr_Occurred() ? NULL : PyLong_FromLongLong(good ? total : -1);
}

/* The partition that holds a row: the first that ends behind it. At most `count`. */
static size_t holder_of(const int64_t *ends, size_t count, int64_t row) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (ends[middle] > row)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

PyObject *run_places(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *rows, *ends, *shifts, *out;
    if (counted("run_places", given, 5) && (rows = hold(&held, args[0], (Wanted){"rows", 'q', 1, ALIGNED})) &&
        (ends = hold(&held, args[1], (Wanted){"ends", 'q', 1, ALIGNED})) &&
        (shifts = hold(&held, args[2], (Wanted){"shifts", 'q', 1, ALIGNED})) &&
        (out = hold(&held, args[4], (Wanted){"out", 'q', 1, WRITABLE}))) {
        uint64_t width = PyLong_AsUnsignedLongLong(args[3]);
        size_t count = (size_t)ends->shape[0];
        if (!PyErr_Occurred() && (shifts->shape[0] != ends->shape[0] || out->shape[0] != rows->shape[0] || !count))
            refuse("runs: the arrays do not fit each other");
        for (Py_ssize_t i = 0; !PyErr_Occurred() && i < rows->shape[0]; i++) {
            int64_t row = ((const int64_t *)rows->buf)[i];
            size_t run = holder_of(ends->buf, count, row);
            if (row < 0 || run == count)
                refuse("runs: a row past the last");
            else /* sums of what is unsigned are defined, whatever is in the arrays */
                ((uint64_t *)out->buf)[i] = (uint64_t)row * width + ((const uint64_t *)shifts->buf)[run];
        }
    }
    let_go(&held);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

/* Where rows lie: in partitions, each of which holds a part of every row of it, and before that `before` bytes a
row of other parts. */
typedef struct {
    const Py_buffer *data, *places, *ends, *marks;
    uint64_t before, width;
    const Blocks *blocks; /* NULL when all bytes are here */
    int64_t start;        /* of the data, in the object that has these blocks */
} Parts;

/* The part of a row; NULL when it is out of bounds or not here, or its partition is not marked. */
static const char *part_of(const Parts *parts, int64_t row) {
    const int64_t *ends = parts->ends->buf, *places = parts->places->buf;
    size_t partition = holder_of(ends, (size_t)parts->ends->shape[0], row);
    if (row < 0 || partition == (size_t)parts->ends->shape[0] || !((const uint8_t *)parts->marks->buf)[partition])
        return NULL;
    int64_t first = partition ? ends[partition - 1] : 0, place = places[partition];
    uint64_t size = (uint64_t)(ends[partition] - first), length = (uint64_t)parts->data->len;
    if (row < first || place < 0 || (uint64_t)place > length ||
        size > (length - (uint64_t)place) / (parts->before + parts->width))
        return NULL;
    uint64_t at = (uint64_t)place + size * parts->before + (uint64_t)(row - first) * parts->width;
    int64_t start = parts->start + (int64_t)at;
    if (parts->blocks && !touch_range(parts->blocks, start, start + (int64_t)parts->width))
        return NULL;
    return (const char *)parts->data->buf + at;
}

static PyObject *run_pick(const Parts *parts, const Py_buffer *rows, const Py_buffer *out) {
    if (parts->places->shape[0] < parts->ends->shape[0] || parts->marks->shape[0] != parts->ends->shape[0] ||
        out->shape[1] != rows->shape[0] || !parts->width || parts->before > INT32_MAX)
        return refuse("parts: the arrays do not fit each other");
    Py_ssize_t count = rows->shape[0];
    for (Py_ssize_t start = 0; start < count; start += AT_ONCE) {
        const char *found[AT_ONCE];
        Py_ssize_t some = count - start < AT_ONCE ? count - start : AT_ONCE;
        for (Py_ssize_t i = 0; i < some; i++) {
            found[i] = part_of(parts, ((const int64_t *)rows->buf)[start + i]);
            if (!found[i])
                Py_RETURN_FALSE;
            __builtin_prefetch(found[i]);
        }
        for (Py_ssize_t number = 0; number < out->shape[0]; number++)
            for (Py_ssize_t i = 0; i < some; i++)
                memcpy((uint64_t *)out->buf + number * count + start + i, found[i] + 8 * number, 8);
    }
    Py_RETURN_TRUE;
}

PyObject *pick_parts(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *rows, *out;
    Parts parts = {0};
    PyObject *done = NULL;
    if (counted("pick_parts", given, 9) && (parts.data = hold(&held, args[0], (Wanted){"data", 'B', 1, LOOSE})) &&
        (parts.places = hold(&held, args[1], (Wanted){"places", 'q', 1, ALIGNED})) &&
        (parts.ends = hold(&held, args[2], (Wanted){"ends", 'q', 1, ALIGNED})) &&
        (parts.marks = hold(&held, args[3], (Wanted){"marks", '?', 1, LOOSE})) &&
        (rows = hold(&held, args[5], (Wanted){"rows", 'q', 1, ALIGNED})) &&
        (out = hold(&held, args[6], (Wanted){"out", 'Q', 2, WRITABLE})) && find_notes(&parts.blocks, args[7])) {
        long long before = PyLong_AsLongLong(args[4]), start = PyLong_AsLongLong(args[8]);
        if ((before < 0 || start < 0 || start > INT64_MAX - parts.data->len) && !PyErr_Occurred())
            refuse("parts: a negative size, or a place past the last");
        else if (!PyErr_Occurred()) {
            parts.start = start;
            parts.before = (uint64_t)before;
            parts.width = 8 * (uint64_t)out->shape[0];
            done = run_pick(&parts, rows, out);
        }
    }
    let_go(&held);
    return done;
}

/* The text at an offset; NULL when it is out of bounds, not here or not marked, and with an error set without memory or
when it is to be decoded and is no UTF-8. The length is looked at only when it is here, too. */
static PyObject *text_at(const Py_buffer *data, const Marks *marks, const Blocks *blocks, uint64_t offset,
                         int decode) {
    uint64_t size = (uint64_t)data->len;
    uint32_t length;
    if (size < LENGTH_SIZE || offset > size - LENGTH_SIZE ||
        (blocks && !touch_range(blocks, (int64_t)offset, (int64_t)offset + LENGTH_SIZE)))
        return NULL;
    const char *start = (const char *)data->buf + offset;
    memcpy(&length, start, sizeof length);
    uint64_t whole = LENGTH_SIZE + (uint64_t)length;
    if (length > size - LENGTH_SIZE - offset || !is_marked(marks, offset, whole) ||
        (blocks && !touch_range(blocks, (int64_t)offset, (int64_t)(offset + whole))))
        return NULL;
    start += LENGTH_SIZE;
    return decode ? PyUnicode_DecodeUTF8(start, length, NULL) : PyBytes_FromStringAndSize(start, length);
}

static void ask_for(const Py_buffer *data, uint64_t offset) {
    if (offset < (uint64_t)data->len)
        __builtin_prefetch((const char *)data->buf + offset);
}

static PyObject *read_texts(const Py_buffer *data, const Py_buffer *offsets, const Marks *marks, const Blocks *blocks,
                            int decode) {
    PyObject *texts = PyList_New(offsets->shape[0]);
    for (Py_ssize_t i = 0; texts && i < offsets->shape[0]; i++) {
        if (!blocks && i + AT_ONCE < offsets->shape[0]) /* what is not here may not be touched */
            ask_for(data, offset_at(offsets, i + AT_ONCE));
        PyObject *text = text_at(data, marks, blocks, offset_at(offsets, i), decode);
        if (!text) {
            Py_DECREF(texts);
            if (PyErr_Occurred())
                return NULL;
            Py_RETURN_NONE;
        }
        PyList_SET_ITEM(texts, i, text);
    }
    return texts;
}

static PyObject *read_all(const char *function, PyObject *const *args, Py_ssize_t given, int decode) {
    Held held = {.count = 0};
    const Py_buffer *data, *offsets, *view;
    const Blocks *blocks;
    Marks marks;
    PyObject *texts = NULL;
    if (counted(function, given, 5) && (data = hold(&held, args[0], (Wanted){"data", 'B', 1, LOOSE})) &&
        (offsets = hold(&held, args[1], (Wanted){"offsets", 'Q', 1, LOOSE})) &&
        (view = hold(&held, args[2], (Wanted){"marks", 'B', 1, LOOSE})) && read_block(&marks, view, args[3]) &&
        find_notes(&blocks, args[4]))
        texts = read_texts(data, offsets, &marks, blocks, decode);
    let_go(&held);
    return texts;
}

PyObject *texts_at(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    return read_all("texts_at", args, given, 0);
}

PyObject *strings_at(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    return read_all("strings_at", args, given, 1);
}
