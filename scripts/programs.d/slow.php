<?php
// An answer that takes 3 s for /slow.
if (str_contains($_SERVER['REQUEST_URI'], '/slow')) {
    touch('/mnt/flying');
    sleep(3);
}
echo "done\n";
