from django.contrib.auth.decorators import login_required
from django.http import Http404
from django.shortcuts import get_object_or_404, redirect, render

from .live import can_see_orders
from .models import Customer


@login_required
def customers(request):
    seen = Customer.objects.order_by("name")
    if not request.user.is_staff:
        seen = seen.filter(user=request.user)
    return render(request, "orders/customers.html", {"customers": seen})


@login_required
def customer(request, customer):
    if not can_see_orders(request.user, customer):
        raise Http404
    seen = get_object_or_404(Customer, pk=customer)
    if request.method == "POST":
        change_orders(seen, request.POST)
        return redirect(request.path)
    return render(request, "orders/customer.html", {"customer": seen})


def change_orders(customer, form):
    """Nothing here tells anybody that rows changed: whoever watches sees it all the same."""
    for order in customer.orders.filter(open=True):
        note, close = form.get(f"note-{order.pk}", order.note), form.get("close") == str(order.pk)
        if close or note != order.note:
            order.note, order.open = note, not close
            order.save()
