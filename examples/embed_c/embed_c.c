/* Rows scored and labelled without the interpreter: a C extension that embeds fastgmm. */
#include <fastgmm/scoring.h>

#include <string.h>

/* The contiguous buffer of an array with `count` items of one of the formats (C integers of 64 bits have two names). */
static int get_buffer(PyObject *array, Py_buffer *view, int flags, const char *formats, Py_ssize_t count) {
    if (PyObject_GetBuffer(array, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | flags) < 0) return -1;
    if (strlen(view->format) == 1 && strchr(formats, view->format[0]) && view->len == 8 * count) return 0;
    PyBuffer_Release(view);
    PyErr_Format(PyExc_ValueError, "expected an array of %zd numbers of the type '%c'", count, formats[0]);
    return -1;
}

/* score_rows(mixture, rows, n_rows, log_density, labels) */
static PyObject *score_rows(PyObject *module, PyObject *arguments) {
    PyObject *mixture, *rows, *log_density, *labels, *scorer;
    Py_ssize_t n;
    Py_buffer x, out, named;
    int status = -1;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOnOO", &mixture, &rows, &n, &log_density, &labels)) return NULL;
    scorer = PyObject_CallMethod(mixture, "scorer", NULL); /* has to live as long as s is used */
    if (scorer == NULL) return NULL;
    const fastgmm_scorer *s = fastgmm_borrow_scorer(scorer);
    if (s == NULL) goto no_scorer;
    if (get_buffer(rows, &x, 0, "d", n * fastgmm_n_features(s)) < 0) goto no_scorer;
    if (get_buffer(log_density, &out, PyBUF_WRITABLE, "d", n) < 0) goto no_out;
    if (get_buffer(labels, &named, PyBUF_WRITABLE, "lq", n) < 0) goto no_labels;

    Py_BEGIN_ALLOW_THREADS
    status = fastgmm_score_f64(s, x.buf, n, out.buf, NULL, named.buf);
    Py_END_ALLOW_THREADS
    if (status == FASTGMM_NO_MEMORY) PyErr_NoMemory();

    PyBuffer_Release(&named);
no_labels:
    PyBuffer_Release(&out);
no_out:
    PyBuffer_Release(&x);
no_scorer:
    Py_DECREF(scorer);
    if (status != FASTGMM_OK) return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"score_rows", score_rows, METH_VARARGS, "Write log-densities and labels of n_rows rows."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "embed_c",
    .m_doc = "Example: a C extension that scores rows with fastgmm.",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit_embed_c(void);
PyMODINIT_FUNC PyInit_embed_c(void) {
    if (fastgmm_import_scoring() < 0) return NULL;
    return PyModule_Create(&definition);
}
