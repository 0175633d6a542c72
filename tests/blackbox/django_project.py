"""A Django project in one module: a collection and its items, by functions and by classes, sync and async."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views import View
from django.views.decorators.http import require_http_methods

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        DEBUG=False,
        LOGGING_CONFIG=None,
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="secret",
        USE_TZ=True,
    )
    django.setup()


@require_http_methods(["GET", "POST"])
def things(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return JsonResponse({"id": 7, "got": request.body.decode()}, status=201)
    return JsonResponse(["ink", "pen"], safe=False)


class Thing(View):
    def get(self, request: HttpRequest, thing_id: int) -> HttpResponse:
        return JsonResponse({"id": thing_id})

    def put(self, request: HttpRequest, thing_id: int) -> HttpResponse:
        return JsonResponse({"put": request.body.decode()})

    def delete(self, request: HttpRequest, thing_id: int) -> HttpResponse:
        return HttpResponse(status=204)


async def later(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"method": request.method, "body": request.body.decode()})


def fall(request: HttpRequest) -> HttpResponse:
    raise ZeroDivisionError("unhandled")


async def two_chunks() -> AsyncIterator[bytes]:
    yield b"one "
    yield b"two"


def stream(request: HttpRequest) -> HttpResponse:
    """Django wants the iterator of the interface that serves it."""
    content = two_chunks() if hasattr(request, "scope") else iter([b"one ", b"two"])
    return StreamingHttpResponse(content, content_type="text/plain")


def form(request: HttpRequest) -> HttpResponse:
    files: dict[str, Any] = {name: upload.read().decode() for name, upload in request.FILES.items()}
    answer = HttpResponse(json.dumps({**request.POST.dict(), **files}), content_type="application/json")
    answer.set_cookie("seen", "1")
    return answer


urlpatterns = [
    path("things", things),
    path("things/<int:thing_id>", Thing.as_view()),
    path("later", later),
    path("fall", fall),
    path("stream", stream),
    path("form", form),
    path("slash/", later),
]
