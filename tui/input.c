#include "tui/input.h"
#include <stdlib.h>
#include <string.h>

#define SEQUENCE_NS 500000000u
#define STRING_NS 2000000000u
#define ESCAPE 27

void input_describe(struct input *input, const char *bytes, int code)
{
    if (!bytes || !*bytes || strlen(bytes) >= INPUT_SEQUENCE || input->key_count == INPUT_KEYS)
        return;
    strcpy(input->keys[input->key_count].bytes, bytes);
    input->keys[input->key_count++].code = code;
}

static void begin(struct input *input, enum input_state state)
{
    input->state = state;
    input->length = 0;
}

static bool is_string(enum input_state state)
{
    return state == INPUT_STRING || state == INPUT_STRING_ESCAPE;
}

size_t input_add(struct input *input, const void *bytes, size_t count, uint64_t now)
{
    const uint64_t patience = is_string(input->state) ? STRING_NS : SEQUENCE_NS;
    if (input->at == input->count && input->state > INPUT_ESCAPE && now - input->last > patience)
        begin(input, INPUT_PLAIN);
    if (input->pasting && now - input->last > STRING_NS) /* its end does not come any more */
        input->pasting = false;
    memmove(input->bytes, input->bytes + input->at, input->count - input->at);
    input->count -= input->at;
    input->at = 0;
    const size_t room = INPUT_BYTES - input->count, taken = count < room ? count : room;
    memcpy(input->bytes + input->count, bytes, taken);
    input->count += taken;
    input->last = now;
    return taken;
}

static void note(struct input *input, unsigned char byte)
{
    if (input->length + 1 < INPUT_SEQUENCE)
        input->sequence[input->length++] = (char)byte;
    else
        input->sequence[0] = 0; /* too long for any key */
    input->sequence[input->length] = 0;
}

static int described(const struct input *input)
{
    for (size_t i = 0; i < input->key_count; i++)
        if (strcmp(input->keys[i].bytes, input->sequence) == 0)
            return input->keys[i].code;
    return 0;
}

/* Keys that terminals send whatever their description says; a description has the arrows of one mode only. */
static int letter_key(char letter)
{
    static const struct {
        char letter;
        int code;
    } keys[] = {{'A', KEY_CODE_UP},   {'B', KEY_CODE_DOWN}, {'C', KEY_CODE_RIGHT},  {'D', KEY_CODE_LEFT},
                {'H', KEY_CODE_HOME}, {'F', KEY_CODE_END},  {'Z', KEY_CODE_BACKTAB}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (keys[i].letter == letter)
            return keys[i].code;
    return 0;
}

static int number_key(int number)
{
    static const struct {
        int number, code;
    } keys[] = {{1, KEY_CODE_HOME},    {7, KEY_CODE_HOME},      {4, KEY_CODE_END},     {8, KEY_CODE_END},
                {5, KEY_CODE_PAGE_UP}, {6, KEY_CODE_PAGE_DOWN}, {3, KEY_CODE_DELETE},  {11, KEY_CODE_F1},
                {12, KEY_CODE_F1 + 1}, {13, KEY_CODE_F1 + 2},   {14, KEY_CODE_F1 + 3}, {15, KEY_CODE_F1 + 4},
                {17, KEY_CODE_F1 + 5}, {18, KEY_CODE_F1 + 6},   {19, KEY_CODE_F1 + 7}, {20, KEY_CODE_F1 + 8},
                {21, KEY_CODE_F1 + 9}, {23, KEY_CODE_F1 + 10},  {24, KEY_CODE_F1 + 11}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (keys[i].number == number)
            return keys[i].code;
    return 0;
}

/* Button 1 and the wheel: 0 and 64, 65, whatever modifiers (4, 8, 16); 32 is a movement. */
static int mouse_key(struct mouse *mouse, long button, long x, long y)
{
    const long plain = button & ~28L;
    if (x < 1 || y < 1 || x > 10000 || y > 10000)
        return 0;
    if (plain == 0)
        mouse->action = MOUSE_PRESS;
    else if (plain == 64)
        mouse->action = MOUSE_WHEEL_UP;
    else if (plain == 65)
        mouse->action = MOUSE_WHEEL_DOWN;
    else
        return 0;
    mouse->x = (int)x - 1;
    mouse->y = (int)y - 1;
    return KEY_CODE_MOUSE;
}

/* ESC [ < button ; column ; row M, or m for a release, of which nobody needs to know. */
static int sgr_mouse(const char *parameters, struct mouse *mouse)
{
    long values[3];
    for (int i = 0; i < 3; i++) {
        char *end;
        if (*parameters < '0' || *parameters > '9')
            return 0;
        values[i] = strtol(parameters, &end, 10);
        if (*end != (i < 2 ? ';' : 'M'))
            return 0;
        parameters = end + 1;
    }
    return mouse_key(mouse, values[0], values[1], values[2]);
}

/* A whole CSI: keys have digits alone, and arrows with a modifier are arrows. */
static int csi_key(struct input *input, struct mouse *mouse)
{
    const char *parameters = input->sequence + 2;
    const char final = input->sequence[input->length - 1];
    const int known = described(input);
    if (known || !input->sequence[0])
        return known;
    if (strcmp(parameters, "200~") == 0 || strcmp(parameters, "201~") == 0)
        input->pasting = parameters[2] == '0';
    if (*parameters == '<' && final == 'M')
        return sgr_mouse(parameters + 1, mouse);
    const size_t digits = strspn(parameters, "0123456789;");
    if (digits + 1 != strlen(parameters))
        return 0;
    if (final == '~')
        return strchr(parameters, ';') || digits > 2 ? 0 : number_key(atoi(parameters));
    return digits == 0 || strncmp(parameters, "1;", 2) == 0 ? letter_key(final) : 0;
}

static int ss3_key(const struct input *input)
{
    const char letter = input->sequence[2];
    const int known = described(input);
    if (known)
        return known;
    return letter == 'M'                    ? KEY_CODE_ENTER
           : letter >= 'P' && letter <= 'S' ? KEY_CODE_F1 + letter - 'P'
                                            : letter_key(letter);
}

static enum input_state after_escape(unsigned char byte);

/* A control character of eight bits, by itself or as UTF-8 has it, is what ESC and its lower half are: CSI, SS3, DCS and the others
 * begin sequences, the rest are no keys. */
static int eight_bits(struct input *input, unsigned char code)
{
    const unsigned char second = (unsigned char)(code - 0x40);
    begin(input, after_escape(second));
    if (input->state != INPUT_PLAIN) {
        note(input, ESCAPE);
        note(input, second);
    }
    return 0;
}

/* A byte outside sequences: a key, or a part of a character. */
static int plain_key(struct input *input, unsigned char byte)
{
    wchar_t wide = 0;
    const char text[2] = {(char)byte, 0};
    begin(input, INPUT_PLAIN);
    note(input, byte);
    const int known = mbsinit(&input->character) ? described(input) : 0;
    if (known)
        return known;
    const bool within = !mbsinit(&input->character);
    size_t got = mbrtowc(&wide, text, 1, &input->character);
    if (got == (size_t)-1) {
        memset(&input->character, 0, sizeof input->character);
        /* It may be good by itself where what came before was not. */
        if (!within || (got = mbrtowc(&wide, text, 1, &input->character)) == (size_t)-1) {
            memset(&input->character, 0, sizeof input->character);
            return byte >= 0x80 && byte < 0xa0 && !within ? eight_bits(input, byte) : 0;
        }
    }
    if (got == (size_t)-2)
        return 0;
    const int code = (int)wide;
    if (code == 127 || code == 8)
        return KEY_CODE_BACKSPACE;
    if (code == 10)
        return KEY_CODE_ENTER;
    if (code >= 128 && code < 160)
        return eight_bits(input, (unsigned char)code);
    return code < 0 || code > 0x10ffff ? 0 : code; /* what is beyond Unicode is no key */
}

static enum input_state after_escape(unsigned char byte)
{
    switch (byte) {
    case '[':
        return INPUT_CSI;
    case 'O':
        return INPUT_SS3;
    case 'P': /* DCS */
    case ']': /* OSC */
    case 'X': /* SOS */
    case '^': /* PM */
    case '_': /* APC */
        return INPUT_STRING;
    default:
        return INPUT_PLAIN;
    }
}

static int in_csi(struct input *input, unsigned char byte, struct mouse *mouse)
{
    note(input, byte);
    if (byte >= 0x20 && byte < 0x40)
        return 0;
    if (input->length == 3 && (byte == '[' || byte == 'M')) {
        input->state = byte == '[' ? INPUT_CONSOLE : INPUT_MOUSE;
        return 0;
    }
    input->state = INPUT_PLAIN;
    return byte < 0x7f ? csi_key(input, mouse) : 0;
}

/* One byte of a sequence. *taken is false when it ended the sequence without belonging to it. */
static int in_sequence(struct input *input, unsigned char byte, struct mouse *mouse, bool *taken)
{
    /* A control character ends what it comes in the midst of: a ^C is one wherever it comes. */
    const bool control = byte < 0x20 && !(is_string(input->state) && (byte == 7 || byte == ESCAPE || byte == 9));
    if (control && input->state > INPUT_ESCAPE && input->state != INPUT_MOUSE) {
        begin(input, INPUT_PLAIN);
        *taken = false;
        return 0;
    }
    switch (input->state) {
    case INPUT_ESCAPE:
        input->state = after_escape(byte);
        if (input->state == INPUT_PLAIN) {
            note(input, byte);
            const int known = byte == ESCAPE ? 0 : described(input);
            *taken = known != 0;
            return known ? known : KEY_CODE_ESCAPE;
        }
        note(input, byte);
        return 0;
    case INPUT_CSI:
        return in_csi(input, byte, mouse);
    case INPUT_CONSOLE:
        input->state = INPUT_PLAIN;
        return byte >= 'A' && byte <= 'E' ? KEY_CODE_F1 + byte - 'A' : 0;
    case INPUT_SS3:
        note(input, byte);
        /* ESC O and digits: keys with modifiers in some terminals */
        if (byte >= '0' && byte <= '9')
            return 0;
        input->state = INPUT_PLAIN;
        return input->length == 3 ? ss3_key(input) : 0;
    case INPUT_MOUSE:
        note(input, byte);
        if (input->length < 6)
            return 0;
        input->state = INPUT_PLAIN;
        return mouse_key(mouse, (unsigned char)input->sequence[3] - 32, (unsigned char)input->sequence[4] - 32,
                         (unsigned char)input->sequence[5] - 32);
    case INPUT_STRING:
        input->state = byte == 7 || (byte == 0x9c && input->before == 0xc2) ? INPUT_PLAIN
                       : byte == ESCAPE                                     ? INPUT_STRING_ESCAPE
                                                                            : INPUT_STRING;
        input->before = byte;
        return 0;
    case INPUT_STRING_ESCAPE:
        if (byte == '\\') {
            input->state = INPUT_PLAIN;
            return 0;
        }
        /* Another sequence begins where the string should have ended. */
        begin(input, INPUT_ESCAPE);
        note(input, ESCAPE);
        *taken = false;
        return 0;
    case INPUT_PLAIN:
        break;
    }
    return 0;
}

int input_key(struct input *input, struct mouse *mouse)
{
    while (input->at < input->count) {
        const unsigned char byte = input->bytes[input->at];
        bool taken = true;
        int key = 0;
        if (input->state != INPUT_PLAIN) {
            key = in_sequence(input, byte, mouse, &taken);
        } else if (byte == ESCAPE) {
            begin(input, INPUT_ESCAPE);
            note(input, byte);
        } else {
            key = plain_key(input, byte);
        }
        input->at += taken;
        if (key && (!input->pasting || key == KEY_CODE_MOUSE || key == 3)) /* ^C ends a paste that does not end */
            return key;
        if (key >= ' ' && key < KEY_CODE_UP)
            return key | KEY_PASTED;
    }
    return 0;
}

bool input_is_undecided(const struct input *input)
{
    return input->state == INPUT_ESCAPE && input->at == input->count;
}

int input_decide(struct input *input)
{
    begin(input, INPUT_PLAIN);
    return input->pasting ? 0 : KEY_CODE_ESCAPE;
}
