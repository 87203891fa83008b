/* The app on a canvas, without a terminal: keys in, text out. */
#pragma once
#include "tui/app.h"

struct app *view_open(void (*make)(struct report *));
/* Gives it a session whose runs start nothing as long as nobody steps it. view_close frees it, too. */
struct session *view_session(struct app *app);
void view_close(struct app *app);
/* Types keys: characters, and the names <Enter> <Esc> <Down> <Up> <Left> <Right> <End> <Del>. Each acts on what is drawn. */
void view_type(struct app *app, const char *keys);
/* The whole screen as text; malloc'ed. */
char *view_text(struct app *app, int height, int width);
/* Fails unless the screen of 40×160 holds the text; or unless it does not. */
void view_expect(struct app *app, const char *text);
void view_expect_not(struct app *app, const char *text);
/* Fails unless the screen of 40×160 holds both, the first one above the second. */
void view_expect_order(struct app *app, const char *above, const char *below);
