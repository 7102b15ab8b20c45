#!/usr/bin/env -S NODE_PATH=/usr/share/nodejs node
// nodemailer.js STYLE, which is a transfer encoding or nothing
const fs = require("fs");
const nodemailer = require("nodemailer");

const content = (name) => (fs.existsSync(name) ? fs.readFileSync(name, "utf8") : undefined);
const attachments = [];
if (fs.existsSync("request.txt")) attachments.push({ path: "request.txt" });
if (fs.existsSync("request.eml")) attachments.push({ path: "request.eml", contentType: "message/rfc822" });
const style = process.argv[2];
nodemailer
  .createTransport({ host: "127.0.0.1", port: 25, ignoreTLS: true })
  .sendMail({
    from: "alice@mx.example.net",
    to: "netsysrq@example.net",
    subject: content("subject"),
    text: content("text"),
    html: content("html"),
    attachments,
    ...(style === "plain" ? {} : { textEncoding: style }),
  })
  .catch((error) => {
    console.error(error);
    process.exit(1);
  });
