#!/usr/bin/ruby
# Ruby's mail
require "mail"

def content(name) = File.exist?(name) ? File.read(name, encoding: "UTF-8") : nil

Mail.deliver do
  delivery_method :smtp, address: "127.0.0.1", port: 25, enable_starttls_auto: false
  from "alice@mx.example.net"
  to "netsysrq@example.net"
  subject content("subject")
  text, html = content("text"), content("html")
  if html
    text_part { body text } if text
    html_part { content_type "text/html; charset=UTF-8"; body html }
  else
    body text
  end
  add_file "request.txt" if File.exist?("request.txt")
  add_file "request.eml" if File.exist?("request.eml")
end
