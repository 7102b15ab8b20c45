#!/usr/bin/perl
# Email::Stuffer
use strict;
use warnings;
use Email::Sender::Transport::SMTP;
use Email::Stuffer;

sub content {
    open my $file, '<:encoding(UTF-8)', $_[0] or die "$_[0]: $!";
    local $/;
    return scalar <$file>;
}

my $mail = Email::Stuffer->from('alice@mx.example.net')->to('netsysrq@example.net')->subject(content('subject'));
$mail->text_body(content('text')) if -e 'text';
$mail->html_body(content('html')) if -e 'html';
$mail->attach_file($_) for grep { -e } 'request.txt', 'request.eml';
$mail->transport(Email::Sender::Transport::SMTP->new({ host => '127.0.0.1' }))->send_or_die;
