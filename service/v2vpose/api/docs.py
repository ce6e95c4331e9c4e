"""`/docs`: Swagger UI from the package that ships it; a browser asks nobody but this service."""

from typing import Final

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path

_ASSETS: Final = "/docs/assets"


def add_docs(app: FastAPI) -> None:
    """Serve the page and its assets; works behind a proxy that adds a prefix."""

    async def docs(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "").rstrip("/")
        return get_swagger_ui_html(
            openapi_url=f"{root}{app.openapi_url}",
            title=app.title,
            swagger_js_url=f"{root}{_ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{_ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{root}{_ASSETS}/favicon-32x32.png",
        )

    app.get("/docs", include_in_schema=False)(docs)
    app.mount(_ASSETS, StaticFiles(directory=swagger_ui_path), name="docs-assets")
