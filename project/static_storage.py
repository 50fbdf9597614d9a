"""Static files under names that change with their content, JavaScript modules included."""

from servestatic.storage import CompressedManifestStaticFilesStorage


class StaticStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Rewrites `import` lines in modules too, so that every file of a page can be cached for ever."""

    support_js_module_import_aggregation = True
