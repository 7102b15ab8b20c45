<?php
// Roundcube for alice, with a database in a file; /etc/roundcube/case.json holds the preferences of the mail at hand.
$config = [
    'db_dsnw' => 'sqlite:////var/lib/roundcube/temp/roundcube.db?mode=0640',
    'des_key' => 'twenty-four octets here.',
    'imap_host' => '127.0.0.1:143',
    'smtp_host' => '127.0.0.1:25',
    'smtp_user' => '',
    'smtp_pass' => '',
    'mail_domain' => 'example.com',
    'language' => 'en_US',
    'create_default_folders' => true,
    'reply_mode' => 1,
    'draft_autosave' => 0,
    'plugins' => [],
    'skin' => 'elastic',
    'enable_spellcheck' => false,
];
$config = array_merge($config, json_decode(file_get_contents('/etc/roundcube/case.json'), true));
