"""What happens when a server dies under many clients: how soon has everybody everything again?"""
