;;; Message mode: what a person does in it, by the functions that the keys call.
(require 'message)
(require 'mml)
(setq user-mail-address "alice@mx.example.net"
      user-full-name "Alice"
      message-send-mail-function #'message-send-mail-with-sendmail
      message-interactive t
      message-kill-buffer-on-exit t
      message-forward-show-mml nil
      message-default-charset 'utf-8)
(defconst to "netsysrq@example.net")
(defconst style (pop command-line-args-left))
(defun content (file)
  (with-temp-buffer (insert-file-contents file) (buffer-string)))
(pcase (if (file-exists-p "manner") (string-trim (content "manner")) "new")
  ("new" (message-mail to (content "subject")))
  ("reply"
   (find-file "original.eml")
   (setq message-reply-headers nil)
   (let ((mail (current-buffer)))
     (message-reply to)
     (setq message-reply-buffer mail)
     (goto-char (point-max))
     (message-yank-original)))
  (how
   (find-file "original.eml")
   (setq message-forward-as-mime (equal how "attach"))
   (message-forward)
   (message-goto-to)
   (insert to)))
(message-goto-body)
(when (file-exists-p "text")
  (let ((begin (point)))
    (insert-file-contents "text")
    (goto-char (+ begin (length (content "text"))))
    (when (equal style "filled") (fill-region begin (point)))
    (when (equal style "flowed")
      (setq mml-enable-flowed t)
      (use-hard-newlines 1 'always)
      (set-hard-newline-properties begin (point)))))
(goto-char (point-max))
(when (file-exists-p "request.txt") (mml-attach-file "request.txt" "text/plain"))
(when (file-exists-p "request.eml") (mml-attach-file "request.eml" "message/rfc822"))
(message-send)
