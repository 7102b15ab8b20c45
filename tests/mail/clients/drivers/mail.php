#!/usr/bin/php
<?php
// php's own mail()
$headers = "From: alice@mx.example.net";
$body = 'text';
if (is_file('html')) {
    $body = 'html';
    $headers .= "\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8";
}
mail('netsysrq@example.net', file_get_contents('subject'), file_get_contents($body), $headers) || exit(1);
