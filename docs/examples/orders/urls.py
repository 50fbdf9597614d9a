from django.urls import path

from . import views

urlpatterns = [
    path("", views.customers, name="orders_customers"),
    path("<int:customer>/", views.customer, name="orders_customer"),
]
