//! Nagios with the commands that `deploy/sources/nagios` ships, as its page says.

use std::path::Path;

use muster::model::ChangeKind;
use serde_json::json;

use crate::process::wait_until;
use crate::{Program, Rig, output};

#[test]
fn what_nagios_notifies_of_opens_incidents_and_recoveries_resolve_them() {
    let rig = Rig::start("[{name: nagios, decoder: nagios}]");
    let path = |name: &str| rig.path(name).to_str().expect("a path").to_owned();
    // What is shipped, with nothing but the address and the place of the program put in.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/sources");
    let commands = std::fs::read_to_string(root.join("nagios/commands.cfg")).expect("it is there");
    let program = format!("{} --spool {}", root.join("muster-notify").display(), path("spool"));
    let commands = commands
        .replace("/usr/local/bin/muster-notify", &program)
        .replace("https://MUSTER", &rig.url());
    let user = output("id", &["-un"]);
    let group = output("id", &["-gn"]);
    std::fs::create_dir(rig.path("results")).expect("a directory");
    let write = |name: &str, text: &str| std::fs::write(rig.path(name), text).expect("written");
    write("check-absent", "[ -e \"$1\" ] || { echo OK; exit 0; }\ncat \"$1\"; exit 2\n");
    write("commands.cfg", &commands);
    write("objects.cfg", &OBJECTS.replace("DIRECTORY", &path("")));
    let main = MAIN.replace("DIRECTORY", &path(""));
    write("nagios.cfg", &main.replace("USER", user.trim()).replace("GROUP", group.trim()));
    output("/usr/sbin/nagios4", &["-v", &path("nagios.cfg")]);
    let mut nagios =
        Program::start("/usr/sbin/nagios4", &[&path("nagios.cfg")], &rig.path("nagios.out"));
    wait_until("Nagios to check", || {
        nagios.assert_running();
        let status = std::fs::read_to_string(rig.path("status.dat")).unwrap_or_default();
        status.matches("has_been_checked=1").count() == 3
    });
    assert_eq!(rig.incidents(), Vec::<serde_json::Value>::new(), "all is well");

    write("disk", "DISK CRITICAL - \"/srv\" 98 % full; it's ünder pressure|used=98%\n");
    let web = rig.incident("web-1", "open");
    let alert = &web["alerts"][0];
    assert_eq!((&web["status"], &alert["check"]), (&json!("critical"), &json!("disk /srv")));
    assert_eq!(alert["source"], "nagios");
    assert_eq!(alert["tags"]["servicegroups"], "storage", "{alert}");
    // Nagios itself makes a colon of the semicolon, and takes quotes out.
    let description = alert["description"].as_str().expect("a text");
    assert!(description.contains("98 % full: its ünder pressure"), "{description}");
    assert!(!description.contains("used="), "{description}");
    // Only the hard state counts, and Nagios has logged a soft one before.
    let log = std::fs::read_to_string(rig.path("nagios.log")).expect("it is there");
    let at = |text: &str| log.find(text).unwrap_or_else(|| panic!("no {text} in {log}"));
    assert!(at("disk /srv;CRITICAL;SOFT;1") < at("disk /srv;CRITICAL;HARD;2"));

    write("gone", "no route\n");
    let database = rig.incident("db-1", "open");
    assert_eq!(database["status"], "critical");
    let check = &database["alerts"][0]["check"];
    assert!(check.is_null() || check == "", "a host's own state has no check: {database}");

    std::fs::remove_file(rig.path("disk")).expect("removed");
    std::fs::remove_file(rig.path("gone")).expect("removed");
    for opened in [&web, &database] {
        let host = opened["alerts"][0]["host"].as_str().expect("a host");
        let resolved = rig.incident(host, "resolved");
        assert_eq!(resolved["id"], opened["id"]);
    }
    nagios.assert_running();
    rig.nothing_set_aside();
    let history = rig.history();
    assert_eq!(history.len(), 2, "{history:?}");
    for revisions in history.values() {
        assert_eq!(revisions[..], [[ChangeKind::Opened], [ChangeKind::Resolved]]);
    }
    eprintln!("Nagios: a service and a host that failed opened incidents, and ended them");
}

/// Checks go every second; a state is believed when it was seen twice.
const OBJECTS: &str = r"
define timeperiod {
    timeperiod_name  24x7
    alias            always
    sunday           00:00-24:00
    monday           00:00-24:00
    tuesday          00:00-24:00
    wednesday        00:00-24:00
    thursday         00:00-24:00
    friday           00:00-24:00
    saturday         00:00-24:00
}
define command {
    command_name  check-up
    command_line  /usr/lib/nagios/plugins/check_dummy 0 up
}
define command {
    command_name  check-absent
    command_line  /bin/sh DIRECTORYcheck-absent $ARG1$
}
define host {
    name                   all
    max_check_attempts     2
    check_interval         1
    retry_interval         1
    active_checks_enabled  1
    check_period           24x7
    notification_period    24x7
    notification_interval  0
    notification_options   d,u,r
    contacts               muster
    register               0
}
define host {
    use            all
    host_name      web-1
    alias          The web server
    address        127.0.0.1
    check_command  check-up
}
define host {
    use            all
    host_name      db-1
    address        127.0.0.1
    check_command  check-absent!DIRECTORYgone
}
define servicegroup {
    servicegroup_name  storage
    alias              Storage
}
define service {
    host_name              web-1
    service_description    disk /srv
    servicegroups          storage
    check_command          check-absent!DIRECTORYdisk
    max_check_attempts     2
    check_interval         1
    retry_interval         1
    check_period           24x7
    notification_period    24x7
    notification_interval  0
    notification_options   w,u,c,r
    contacts               muster
}
";

const MAIN: &str = "\
log_file=DIRECTORYnagios.log
cfg_file=DIRECTORYobjects.cfg
cfg_file=DIRECTORYcommands.cfg
object_cache_file=DIRECTORYobjects.cache
precached_object_file=DIRECTORYobjects.precache
status_file=DIRECTORYstatus.dat
status_update_interval=1
state_retention_file=DIRECTORYretention.dat
temp_file=DIRECTORYnagios.tmp
temp_path=DIRECTORY
check_result_path=DIRECTORYresults
command_file=DIRECTORYnagios.cmd
query_socket=DIRECTORYnagios.qh
lock_file=DIRECTORYnagios.lock
nagios_user=USER
nagios_group=GROUP
interval_length=1
check_result_reaper_frequency=1
enable_notifications=1
execute_service_checks=1
execute_host_checks=1
log_notifications=1
log_service_retries=1
log_host_retries=1
use_syslog=0
check_for_updates=0
cached_host_check_horizon=0
illegal_macro_output_chars=`~$&|'\"<>
";
