/*
 * page.css and page.js as text, made by the build (CMakeLists.txt).
 */
#ifndef GR_REPORT_PAGE_FILES_H
#define GR_REPORT_PAGE_FILES_H

#include <stddef.h>

extern const char gr_page_css[], gr_page_js[];
extern const size_t gr_page_css_size, gr_page_js_size;

#endif
