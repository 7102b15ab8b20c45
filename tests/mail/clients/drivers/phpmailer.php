#!/usr/bin/php
<?php
// PHPMailer: phpmailer.php STYLE, which is "wrapped" or a transfer encoding or nothing
require '/usr/share/php/libphp-phpmailer/autoload.php';

$mail = new PHPMailer\PHPMailer\PHPMailer(true);
$mail->isSMTP();
$mail->Host = '127.0.0.1';
$mail->SMTPAutoTLS = false;
$mail->CharSet = 'UTF-8';
if ($argv[1] === 'wrapped') {
    $mail->WordWrap = 72;
} elseif ($argv[1] !== 'plain') {
    $mail->Encoding = $argv[1];
}
$mail->setFrom('alice@mx.example.net');
$mail->addAddress('netsysrq@example.net');
$mail->Subject = file_get_contents('subject');
$text = is_file('text') ? file_get_contents('text') : '';
if (is_file('html')) {
    $mail->isHTML(true);
    $mail->Body = file_get_contents('html');
    $mail->AltBody = $text;
} else {
    $mail->Body = $text;
}
foreach (['request.txt', 'request.eml'] as $file) {
    if (is_file($file)) {
        $mail->addAttachment($file);
    }
}
$mail->send();
