"""The program in Django with its REST framework."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from rest_framework.response import Response
from rest_framework.views import APIView

from failings.apps import CREATED, PAYLOAD, SHOWN


class Items(APIView):  # type: ignore[misc]
    def get(self, request: Any) -> Response:
        return Response(SHOWN)

    def post(self, request: Any) -> Response:
        return Response(CREATED, 201)


class Search(APIView):  # type: ignore[misc]
    def get(self, request: Any) -> Response:
        return Response(SHOWN)


class Item(APIView):  # type: ignore[misc]
    def get(self, request: Any, id: int) -> Response:
        return Response({"id": id})

    put = patch = get

    def delete(self, request: Any, id: int) -> Response:
        return Response(status=204)


class Act(APIView):  # type: ignore[misc]
    def post(self, request: Any) -> Response:
        return Response({"done": True})


@csrf_exempt  # type: ignore[untyped-decorator]
def told(request: Any, status: int) -> HttpResponse:
    return HttpResponse(PAYLOAD, status=status, content_type="text/plain")


urlpatterns = [
    path("items", Items.as_view()),
    path("items/search", Search.as_view()),
    path("items/<int:id>", Item.as_view()),
    path("only-post", Act.as_view()),
    path("told/<int:status>", told),
]
