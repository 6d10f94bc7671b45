/* SPDX-License-Identifier: MIT */
/* roofline_page: how large the picture and its parts are, in points. */
#ifndef SHERD_TOOL_ROOFLINE_PAGE_H
#define SHERD_TOOL_ROOFLINE_PAGE_H

#define PLOT_LEFT    80
#define PLOT_BOTTOM  0 /* places are counted from there */
#define PLOT_WIDTH   640
#define PLOT_HEIGHT  480
#define PLOT_TOP     70 /* what is above it */
#define AXIS_HEIGHT  58 /* numbers and name of the lower axis */
#define KEY_ROW      18
#define LIST_LEFT    (PLOT_LEFT + PLOT_WIDTH + 40)
#define LIST_WIDTH   530
#define LIST_ROW     17
#define LABEL_WIDTH  20
#define LABEL_HEIGHT 13

/* gnuplot's size of a point that takes this share of the time: its area says so. */
#define ROOFLINE_SIZE(time) (0.7 + 2.0 * sqrt(time))

struct roofline;
struct roofline_axes {
	double x[2], y[2]; /* operations a byte, operations a second: least and most */
};
struct roofline_axes roofline_axes(const struct roofline *r);

#endif
