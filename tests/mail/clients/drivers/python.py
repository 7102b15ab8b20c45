#!/usr/bin/python3
"""Python's email: python.py STYLE, which is a policy, MIMEText, or a transfer encoding."""
import smtplib
import sys
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path

style = sys.argv[1]
content = {path.name: path.read_bytes().decode() for path in Path().iterdir()}
text, html = content.get("text"), content.get("html")
attached, forwarded = content.get("request.txt"), content.get("request.eml")

if style == "MIMEText":
    parts = [MIMEText(text, _charset="utf-8")] if text else []
    parts += [MIMEText(html, "html", "utf-8")] if html else []
    parts += [MIMEText(attached)] if attached else []
    parts += [MIMEMessage(message_from_bytes(forwarded.encode()))] if forwarded else []
    message = parts[0]
    if len(parts) > 1:
        message = MIMEMultipart("alternative" if html else "mixed")
        for part in parts:
            message.attach(part)
elif style == "compat32":
    message = Message()
    message.set_payload(text, "utf-8")
else:
    encoding = {"cte": style} if style in ("base64", "quoted-printable", "8bit") else {}
    message = EmailMessage(policy=policy.SMTP)
    if text:
        message.set_content(text, **encoding)
        if html:
            message.add_alternative(html, subtype="html", **encoding)
    else:
        message.set_content(html, subtype="html", **encoding)
    if attached:
        message.add_attachment(attached, filename="request.txt")
    if forwarded:
        message.add_attachment(message_from_bytes(forwarded.encode(), policy=policy.default))
message["From"] = "alice@mx.example.net"
message["To"] = "netsysrq@example.net"
message["Subject"] = content["subject"]
with smtplib.SMTP("127.0.0.1") as smtp:
    smtp.send_message(message)
