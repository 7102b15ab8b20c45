#!/usr/bin/python3
"""Writes mails in Roundcube as a person does: in Chromium, with its clipboard and its keyboard.

    compose.py <CASES >SENT

CASES is a JSON list of mails. Each has a name, the text to paste, and what differs from CASE. SENT is the name of each
mail that Roundcube says it has sent.
"""

import html
import json
import signal
import sys
import tempfile
from urllib.parse import quote

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support import expected_conditions as expected
from selenium.webdriver.support.ui import WebDriverWait

SITE = "http://127.0.0.1:8080/"
TO = "netsysrq@example.net"
CASE = {
    "settings": {},  # of Roundcube
    "action": "",  # what is done with the mail about "about": reply or forward; nothing for a new mail
    "about": "",
    "into": "body",  # or subject
    "above": "",  # typed before the text is pasted; what is between asterisks is bold
    "copied": "",  # the element of a web page that the text is copied out of; plain text otherwise
}
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --window-size=1400,1000"""
# Roundcube sets this when it has filled in the text field, or TinyMCE once that has started
READY = "return window.rcmail?.env?.identities_initialized"
# in seconds: for all mails, and for each wait
DEADLINE = 900
PATIENCE = 120


class Person:
    def __init__(self, profile):
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        options.page_load_strategy = "eager"
        for flag in [*FLAGS.split(), f"--user-data-dir={profile}"]:
            options.add_argument(flag)
        self.browser = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)

    def wait(self, condition, what):
        # what was found may be redrawn before it is looked at
        waiting = WebDriverWait(self.browser, PATIENCE, 0.05, [StaleElementReferenceException])
        return waiting.until(condition, what)

    def find(self, css):
        """The first visible element that matches."""
        elements = self.wait(lambda browser: [e for e in self.all(css) if e.is_displayed()], css)
        return elements[0]

    def all(self, css):
        return self.browser.find_elements(By.CSS_SELECTOR, css)

    def link_to(self, about):
        """The mail about that, if it is in the list."""
        links = self.all("#messagelist td.subject a")
        return next((link.get_attribute("href") for link in links if link.text.strip() == about), None)

    def log_in(self):
        self.browser.get(SITE)
        self.find("#rcmloginuser").send_keys("alice")
        self.find("#rcmloginpwd").send_keys("correct horse", Keys.ENTER)
        self.find("#messagelist")

    def copy(self, text, element):
        """Copies text out of another page: as plain text, or with that page's HTML."""
        tag = element or "textarea"
        self.browser.get(f"data:text/html;charset=utf-8,{quote(f'<{tag}>{html.escape(text)}</{tag}>')}")
        field = self.find("body" if element else "textarea")
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(Keys.CONTROL, "c")

    def paste(self, field, above):
        for index, part in enumerate(above.split("*")):
            if index:
                field.send_keys(Keys.CONTROL, "b")
            field.send_keys(part)
        field.send_keys(Keys.CONTROL, "v")

    def begin(self, action, about):
        """Opens the composer."""
        if action:
            self.browser.get(f"{SITE}?_task=mail&_mbox=INBOX")
            self.browser.get(self.wait(lambda _: self.link_to(about), about))
            self.find(f"a.{action}").click()
        else:
            self.browser.get(f"{SITE}?_task=mail&_action=compose")
        self.wait(lambda browser: browser.execute_script(READY), "composer")

    def write_body(self, above):
        """Pastes at the top of the body, which is a text field or TinyMCE's frame."""
        if self.all("textarea.mce_editor"):
            self.browser.switch_to.frame(self.find("#composebody_ifr"))
            body = self.find("#tinymce")
        else:
            body = self.find("#composebody")
        body.click()
        body.send_keys(Keys.CONTROL, Keys.HOME)
        self.paste(body, above)
        self.browser.switch_to.default_content()

    def write(self, case):
        self.copy(case["text"], case["copied"])
        self.begin(case["action"], case["about"])
        if case["action"] != "reply":
            self.find(".recipient-input input").send_keys(TO, Keys.ENTER)
        subject = self.find("#compose-subject")
        if case["into"] == "subject":
            self.paste(subject, case["above"])
        else:
            if not case["action"]:
                subject.send_keys(case["name"])
            self.write_body(case["above"])
        self.find("button.send").click()
        if case["into"] == "subject":
            question = self.wait(expected.alert_is_present(), "question")
            assert question.text == "Send this message without text?", question.text
            question.accept()
        said = self.find("#messagestack .confirmation").text
        assert said == "Message sent successfully.", said


def main():
    signal.alarm(DEADLINE)
    with tempfile.TemporaryDirectory() as profile:
        person = Person(profile)
        try:
            person.log_in()
            for case in json.load(sys.stdin):
                case = {**CASE, **case}
                with open("/etc/roundcube/case.json", "w", encoding="utf-8") as settings:
                    json.dump(case["settings"], settings)
                try:
                    person.write(case)
                except Exception:
                    print(case["name"], file=sys.stderr)
                    raise
                print(case["name"], flush=True)
        finally:
            person.browser.quit()


main()
