#!/usr/bin/perl
# MIME::Lite: lite.pl STYLE, which is a transfer encoding or nothing
use strict;
use warnings;
use MIME::Lite;

sub content { open my $file, '<', $_[0] or die "$_[0]: $!"; local $/; return scalar <$file> }

my @encoding = $ARGV[0] eq 'plain' ? () : (Encoding => $ARGV[0]);
my @envelope = (From => 'alice@mx.example.net', To => 'netsysrq@example.net', Subject => content('subject'));
my @parts;
push @parts, [Type => 'TEXT', Data => content('text'), @encoding] if -e 'text';
push @parts, [Type => 'text/html; charset=utf-8', Data => content('html'), @encoding] if -e 'html';
push @parts, [Type => 'text/plain', Path => 'request.txt', Disposition => 'attachment'] if -e 'request.txt';
push @parts, [Type => 'message/rfc822', Path => 'request.eml', Encoding => '8bit'] if -e 'request.eml';
my $mail;
if (@parts == 1) {
    $mail = MIME::Lite->new(@envelope, @{ $parts[0] });
} else {
    $mail = MIME::Lite->new(@envelope, Type => -e 'html' ? 'multipart/alternative' : 'multipart/mixed');
    $mail->attach(@$_) for @parts;
}
$mail->send('smtp', '127.0.0.1');
