"""Shelves of books, who wrote and who reads them."""

# ruff: noqa: DJ008 - nobody sees their names

from __future__ import annotations

import uuid

from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.models.functions import Upper


class Mark(models.Model):
    """On anything."""

    content_type = models.ForeignKey(ContentType, on_delete=models.CASCADE)
    object_id = models.IntegerField()
    marked = GenericForeignKey()
    text = models.CharField(max_length=20)


class Author(models.Model):
    name = models.CharField(max_length=20)
    mentor = models.ForeignKey("self", models.CASCADE, null=True, related_name="pupils")


class Genre(models.Model):
    name = models.CharField(max_length=20)


class Book(models.Model):
    author = models.ForeignKey(Author, models.CASCADE, null=True, related_name="books")
    title = models.CharField(max_length=20)
    loud_title = models.GeneratedField(
        expression=Upper("title"), output_field=models.CharField(max_length=20), db_persist=True
    )
    code = models.UUIDField(default=uuid.uuid4)
    lent = models.BooleanField(default=False)
    pages = models.IntegerField(null=True)
    note = models.TextField(default="")
    weight = models.FloatField(default=1.0)
    genres = models.ManyToManyField(Genre, related_name="books")
    marks = GenericRelation(Mark)


class Novel(Book):
    """Has its book's row in another table."""

    plot = models.CharField(max_length=20)


class LentBook(Book):
    """The same rows."""

    class Meta:
        proxy = True


class Loan(models.Model):
    book = models.OneToOneField(Book, models.CASCADE, related_name="loan")
    reader = models.CharField(max_length=20)
