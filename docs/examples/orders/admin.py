from django.contrib import admin

from .models import Customer, Order, Tag

admin.site.register([Customer, Order, Tag])
